//! A report as one HTML page that needs nothing else: tables of named values, and plots inside it.
//!
//! The page has no scripts and loads nothing; every text is escaped, and a plot is taken only if it is a picture without
//! scripts or references ([`Plot::new`]).

use std::fmt::Write;

use crate::{Error, Result};

/// Style of the page; it follows the reader's choice of light or dark, plots stay on white.
const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}\
h1{line-height:1.2}\
h2{margin-top:2.5rem}\
table{border-collapse:collapse;width:100%;margin:1rem 0}\
caption{text-align:left;font-weight:600;padding:.3rem 0}\
th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #8884}\
td.value{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
td.unit{white-space:nowrap}\
figure{margin:1.5rem 0}\
figure svg{display:block;max-width:100%;height:auto;background:#fff}\
figcaption{padding:.4rem 0}";

/// A page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// Title of the page and its first heading.
    pub title: String,
    /// What follows, from top to bottom.
    pub blocks: Vec<Block>,
}

/// A piece of a page.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// The heading of a section.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// Named values.
    Table(Table),
    /// A picture.
    Plot(Plot),
}

/// Named values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Above the table.
    pub caption: String,
    /// One value a row.
    pub rows: Vec<Row>,
}

/// A named value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Name of the quantity.
    pub name: String,
    /// Its value, as it is to be read.
    pub value: String,
    /// Its unit; empty where it has none.
    pub unit: String,
    /// One sentence that says what it means.
    pub meaning: String,
}

impl Row {
    /// A row of these parts.
    pub fn new(
        name: impl Into<String>,
        value: impl Into<String>,
        unit: impl Into<String>,
        meaning: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), value: value.into(), unit: unit.into(), meaning: meaning.into() }
    }
}

/// An SVG picture with a caption.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    caption: String,
    svg: String,
}

impl Plot {
    /// A picture from the text of an SVG file, for instance one written by [`crate::plot`].
    ///
    /// # Errors
    /// [`Error::Argument`] when the text is no single `<svg>` element, or holds what a picture on a page of its own needs not:
    /// scripts, style sheets, event handlers, foreign objects, references.
    pub fn new(caption: impl Into<String>, svg: &str) -> Result<Self> {
        let caption = caption.into();
        let refuse = |problem: String| Error::Argument { name: format!("plot `{caption}`"), problem };
        // An XML declaration or a comment may stand before the element.
        let element = svg.find("<svg").map_or("", |begin| svg[begin..].trim_end());
        if !element.ends_with("</svg>") {
            return Err(refuse("is no SVG picture, expected <svg ...> to </svg>".into()));
        }
        let lower = element.to_lowercase();
        for foreign in [
            "<script",
            "<style",
            "<foreignobject",
            "<iframe",
            "<image",
            "<use",
            "<a ",
            "<!",
            "<?",
            "href",
            "url(",
            "javascript:",
        ] {
            if lower.contains(foreign) {
                return Err(refuse(format!("holds `{foreign}`, expected a picture of shapes and texts alone")));
            }
        }
        if let Some(handler) = event_handler(&lower) {
            return Err(refuse(format!(
                "holds the event handler `{handler}`, expected a picture of shapes and texts alone"
            )));
        }
        Ok(Self { svg: element.into(), caption })
    }
}

/// The first attribute that begins with `on` inside a tag.
fn event_handler(svg: &str) -> Option<&str> {
    svg.split('<').filter_map(|piece| piece.split('>').next()).find_map(|tag| {
        tag.split_whitespace().skip(1).find(|attribute| attribute.starts_with("on") && attribute.contains('='))
    })
}

/// The page as HTML.
///
/// # Examples
/// ```
/// use livi::html_report::{Block, Page, Row, Table, render};
/// let row = Row::new("accuracy", "0.9812", "", "The part of the test images that are classified rightly.");
/// let table = Table { caption: "Test images".into(), rows: vec![row] };
/// let html = render(&Page { title: "p < 0.05".into(), blocks: vec![Block::Table(table)] });
/// assert!(html.starts_with("<!DOCTYPE html>") && html.contains("<h1>p &lt; 0.05</h1>"));
/// assert!(html.contains("<td class=\"value\">0.9812</td>"));
/// ```
pub fn render(page: &Page) -> String {
    let title = escaped(&page.title);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    for block in &page.blocks {
        // Writing to a string does not fail.
        let _ = match block {
            Block::Heading(text) => writeln!(html, "<h2>{}</h2>", escaped(text)),
            Block::Text(text) => writeln!(html, "<p>{}</p>", escaped(text)),
            Block::Table(table) => write_table(&mut html, table),
            Block::Plot(plot) => {
                let caption = escaped(&plot.caption);
                writeln!(html, "<figure>\n{}\n<figcaption>{caption}</figcaption>\n</figure>", plot.svg)
            }
        };
    }
    html.push_str("</body>\n</html>\n");
    html
}

fn write_table(html: &mut String, table: &Table) -> std::fmt::Result {
    writeln!(html, "<table>\n<caption>{}</caption>", escaped(&table.caption))?;
    html.push_str("<thead><tr><th scope=\"col\">quantity</th><th scope=\"col\">value</th>");
    html.push_str("<th scope=\"col\">unit</th><th scope=\"col\">meaning</th></tr></thead>\n<tbody>\n");
    for row in &table.rows {
        let [name, value, unit, meaning] = [&row.name, &row.value, &row.unit, &row.meaning].map(|text| escaped(text));
        write!(html, "<tr><th scope=\"row\">{name}</th><td class=\"value\">{value}</td>")?;
        writeln!(html, "<td class=\"unit\">{unit}</td><td>{meaning}</td></tr>")?;
    }
    html.push_str("</tbody>\n</table>\n");
    Ok(())
}

/// Text with the characters that mean something in HTML replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const CIRCLE: &str = "<svg width=\"10\" height=\"10\"><circle r=\"4\"/></svg>";

    #[test]
    fn blocks_come_in_their_order() {
        let blocks = vec![
            Block::Heading("First".into()),
            Block::Text("words".into()),
            Block::Plot(Plot::new("round", CIRCLE).unwrap()),
            Block::Heading("Second".into()),
        ];
        let html = render(&Page { title: "Report".into(), blocks });
        let places = ["<h1>Report</h1>", "<h2>First</h2>", "<p>words</p>", CIRCLE, ">round<", "<h2>Second</h2>"]
            .map(|part| html.find(part).unwrap());
        assert!(places.is_sorted(), "{places:?}");
    }

    #[test]
    fn every_text_is_escaped() {
        let nasty = "<script>alert('1' & \"2\")</script>";
        let row = Row::new(nasty, nasty, nasty, nasty);
        let blocks = vec![
            Block::Heading(nasty.into()),
            Block::Text(nasty.into()),
            Block::Table(Table { caption: nasty.into(), rows: vec![row] }),
            Block::Plot(Plot::new(nasty, CIRCLE).unwrap()),
        ];
        let html = render(&Page { title: nasty.into(), blocks });
        let safe = "&lt;script&gt;alert(&#39;1&#39; &amp; &quot;2&quot;)&lt;/script&gt;";
        assert!(!html.contains("<script"));
        assert_eq!(html.matches(safe).count(), 10);
    }

    #[test]
    fn the_page_loads_nothing() {
        let html = render(&Page { title: "x".into(), blocks: vec![Block::Plot(Plot::new("y", CIRCLE).unwrap())] });
        assert!(["http", "src=", "href", "@import", "url("].iter().all(|part| !html.contains(part)));
    }

    #[test]
    fn a_plot_of_this_program_is_taken_whole() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("reliability");
        let predictions = crate::metrics::ClassPredictions::new(&[0.9, 0.1], 2, &[0]).unwrap();
        crate::plot::plot_reliability(&stem, "one < two", &predictions.calibration_error(5).unwrap()).unwrap();
        let svg = std::fs::read_to_string(stem.with_extension("svg")).unwrap();
        let html = render(&Page { title: "x".into(), blocks: vec![Block::Plot(Plot::new("y", &svg).unwrap())] });
        assert!(html.contains(svg.trim_end()) && html.contains("one &lt; two"));
    }

    #[test]
    fn what_stands_before_the_picture_is_left_out() {
        let plot = Plot::new("y", &format!("<?xml version=\"1.0\"?>\n<!-- made -->\n{CIRCLE}\n")).unwrap();
        assert_eq!(plot.svg, CIRCLE);
    }

    #[test]
    fn a_picture_with_scripts_or_references_is_refused() {
        let inside =
            ["<script>1</script>", "<image href=\"x\"/>", "<g onload=\"f()\"/>", "<g fill=\"url(x)\"/>", "<style/>"];
        for inside in inside {
            let message = Plot::new("y", &format!("<svg>{inside}</svg>")).unwrap_err().to_string();
            assert!(message.contains("plot `y`: holds"), "{inside}: {message}");
        }
        assert!(Plot::new("y", "<p>no picture</p>").unwrap_err().to_string().contains("is no SVG picture"));
    }

    #[test]
    fn a_text_about_conditions_is_no_event_handler() {
        assert!(Plot::new("y", "<svg><text x=\"1\">loss on = off</text></svg>").is_ok());
    }
}
