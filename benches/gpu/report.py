"""The report: a Markdown file that is written anew whenever something is added, so that a stop at any time leaves it."""

import threading


class Report:
    """What was asked for and what was found, then sections in the order of their first text."""

    def __init__(self, path, head, asked):
        """`asked` holds, by the name of each requirement, what is asked for."""
        self.path, self.head, self.asked = path, head, asked
        self.found, self.sections, self.lock = {}, {}, threading.Lock()
        self.write()

    def verdict(self, name, text, met):
        """What was found for a requirement, and whether that is enough."""
        self.found[name] = (text, "met" if met else "**missed**")
        self.write()

    def section(self, title, *parts):
        self.sections[title] = "\n\n".join(part for part in parts if part)
        self.write()

    def write(self):
        rows = [[name, asked, *self.found.get(name, ("-", "not measured"))] for name, asked in self.asked.items()]
        parts = [self.head, "## Asked and found", table(["what", "asked", "found", ""], rows)]
        for title, text in self.sections.items():
            parts += [f"## {title}", text]
        with self.lock:
            partial = self.path.with_suffix(".part")
            partial.write_text("\n\n".join(parts) + "\n")
            partial.replace(self.path)


def table(head, rows):
    """A Markdown table; nothing where there are no rows."""
    if not rows:
        return ""
    return "\n".join("| " + " | ".join(escaped(str(cell)) for cell in row) + " |" for row in [head, ["---"] * len(head), *rows])


def escaped(text):
    return text.replace("|", "\\|").replace("\n", " / ")


def bullets(lines):
    return "\n".join(f"- {line}" for line in lines)
