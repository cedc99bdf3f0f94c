//! Amounts of memory such as `4G`.

/// Reads a number of bytes: a whole or decimal number with an optional unit `K`, `M`, `G` or `T` (powers of 1024; `GB` and `GiB` mean the same).
pub(super) fn parse_bytes(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let expected = || format!("found `{text}`, expected a number with a unit, such as 500M or 4G");
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..split].parse().map_err(|_| expected())?;
    let unit = text[split..].trim().to_ascii_uppercase();
    let unit = unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit);
    let power = match unit {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err(expected()),
    };
    let bytes = number * 1024_f64.powi(power);
    if bytes >= 1.0 && bytes < usize::MAX as f64 { Ok(bytes as usize) } else { Err(expected()) }
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn units_are_powers_of_1024_and_may_be_written_in_full() {
        assert_eq!(parse_bytes("4G"), Ok(4 << 30));
        assert_eq!(parse_bytes("1.5 GiB"), Ok(3 << 29));
        assert_eq!(parse_bytes("500mb"), Ok(500 << 20));
        assert_eq!(parse_bytes("1024"), Ok(1024));
    }

    #[test]
    fn anything_else_is_answered_with_an_example() {
        for text in ["", "G", "4X", "-1G", "0", "1e400", "four", "1.2.3G"] {
            assert!(parse_bytes(text).unwrap_err().contains("such as 500M or 4G"), "{text}");
        }
    }
}
