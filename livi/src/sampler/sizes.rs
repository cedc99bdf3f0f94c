//! Sizes that make a sampler's output exactly m.

/// The most square (rows, columns) whose product leaves the smallest remainder of m, and that remainder.
///
/// Rows lie between half the square root of m and the square root, so the matrix is never more than about four times as wide as high.
///
/// ```
/// use livi::sampler::matrix_and_remainder;
/// assert_eq!(matrix_and_remainder(105), (7, 15, 0));
/// assert_eq!(matrix_and_remainder(751), (25, 30, 1));
/// ```
pub fn matrix_and_remainder(m: usize) -> (usize, usize, usize) {
    let root = m.isqrt().max(1);
    (root.div_ceil(2)..=root)
        .rev()
        .map(|rows| (rows, m / rows, m % rows))
        .min_by_key(|&(_, _, remainder)| remainder)
        .unwrap_or((1, m, 0))
}

/// Splits `total` rows among parts in proportion to the square roots of their sizes, at least one each. `None` if there are more parts than rows.
///
/// ```
/// use livi::sampler::rows_by_share;
/// assert_eq!(rows_by_share(10, &[100, 400, 400]), Some(vec![2, 4, 4]));
/// assert_eq!(rows_by_share(2, &[1, 1, 1]), None);
/// ```
pub fn rows_by_share(total: usize, sizes: &[usize]) -> Option<Vec<usize>> {
    if sizes.len() > total || sizes.is_empty() {
        return None;
    }
    let spare = (total - sizes.len()) as f64;
    let weights: Vec<f64> = sizes.iter().map(|&s| (s as f64).sqrt()).collect();
    let sum: f64 = weights.iter().sum();
    let exact: Vec<f64> = weights.iter().map(|w| 1.0 + spare * w / sum).collect();
    let mut rows: Vec<usize> = exact.iter().map(|e| e.floor() as usize).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let missing = total - rows.iter().sum::<usize>();
    for &k in order.iter().take(missing) {
        rows[k] += 1;
    }
    Some(rows)
}
