//! Named values as lines of text.

/// One line a value, its name before it: values begin at one column, with room for names of `least` characters or the longest.
pub(crate) fn aligned(entries: &[(String, String)], least: usize) -> String {
    let width = entries.iter().map(|(name, _)| name.chars().count()).fold(least, usize::max);
    entries.iter().map(|(name, value)| format!("{name:<width$} {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_begin_where_the_longest_name_ends() {
        let entries = [("noise", "1"), ("noise of a", "2")].map(|(name, value)| (name.to_string(), value.to_string()));
        assert_eq!(aligned(&entries, 4), "noise      1\nnoise of a 2\n");
        assert_eq!(aligned(&entries[..1], 8), "noise    1\n");
    }
}
