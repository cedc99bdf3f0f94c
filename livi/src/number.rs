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

/// Four decimals, an exponent from ten millions on.
///
/// ```
/// use livi::number::in_nats;
/// assert_eq!([in_nats(-2.36841), in_nats(0.0), in_nats(-1.3e75)], ["-2.3684", "0.0000", "-1.3000e75"]);
/// ```
pub fn in_nats(value: f64) -> String {
    if value.abs() < 1e7 { format!("{value:.4}") } else { format!("{value:.4e}") }
}
