//! Numbers as they stand in files.

/// Largest size of a number in a file: its square fits single precision, so that what is made of it in training and prediction does too.
const MOST: f64 = 1e18;

/// The number that a text is, or what is wrong with the text, of which an error shows `shown`.
pub(super) fn number(text: &str, shown: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.abs() <= MOST => Ok(value),
        Ok(value) if value.is_finite() => {
            Err(format!("found `{shown}`, expected a number between -{MOST:e} and {MOST:e}"))
        }
        Ok(_) => Err(format!("found `{shown}`, expected a finite number")),
        Err(_) => Err(format!("found `{shown}`, expected a number")),
    }
}
