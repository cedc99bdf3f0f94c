//! Quadrature rules of the spectral measure that a start vector sees.

/// Nodes and weights with `v^T f(J^T J) v ~ sum_i weight_i f(node_i^2)` for a unit vector v.
///
/// The nodes are kept as singular values, not squared.
#[derive(Debug, Clone, PartialEq)]
pub struct Quadrature {
    /// Singular values, from the largest to the smallest.
    pub nodes: Vec<f64>,
    /// Weights: not negative, summing to 1.
    pub weights: Vec<f64>,
}

impl Quadrature {
    /// Sum of the weights times `function` of the singular values at the nodes.
    ///
    /// ```
    /// let rule = livi::spectral::Quadrature { nodes: vec![3.0, 1.0], weights: vec![0.25, 0.75] };
    /// assert_eq!(rule.integrate(|s| s * s), 3.0);
    /// ```
    pub fn integrate(&self, function: impl Fn(f64) -> f64) -> f64 {
        self.nodes.iter().zip(&self.weights).map(|(&node, &weight)| weight * function(node)).sum()
    }

    /// `1/2 v^T log(J^T J + sigma^2 I) v` by this rule, in nats, for a unit vector v and `sigma > 0`.
    ///
    /// ```
    /// let rule = livi::spectral::Quadrature { nodes: vec![0.0], weights: vec![1.0] };
    /// assert_eq!(rule.half_log(0.5), 0.5_f64.ln());
    /// ```
    pub fn half_log(&self, sigma: f64) -> f64 {
        // The hypotenuse neither overflows nor underflows where the squares would.
        self.integrate(|node| node.hypot(sigma).ln())
    }

    /// How far [`Quadrature::half_log`] moves, to first order, when each singular value moves by `perturbation`.
    pub fn half_log_sensitivity(&self, sigma: f64, perturbation: f64) -> f64 {
        perturbation * self.integrate(|node| (node / node.hypot(sigma)) / node.hypot(sigma))
    }
}
