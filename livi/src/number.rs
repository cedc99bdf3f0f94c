//! Numbers in the units of the data, as tables show them.

/// At least five significant digits whatever the scale: plain notation from 0.0001 to below ten millions (all digits before the point), an
/// exponent beyond.
///
/// ```
/// use livi::number::in_units;
/// assert_eq!([in_units(0.35284), in_units(19_948.233), in_units(-414_332.35)], ["0.35284", "19948", "-414332"]);
/// assert_eq!([in_units(2.0), in_units(0.0), in_units(-3.2e-9)], ["2.0000", "0", "-3.2000e-9"]);
/// ```
pub fn in_units(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".into();
    }
    if !(1e-4..1e7).contains(&size) {
        return format!("{value:.4e}");
    }
    let decimals = (4.0 - size.log10().floor()).max(0.0) as usize;
    format!("{value:.decimals$}")
}
