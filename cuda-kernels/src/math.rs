//! Device functions for generated loops, by name.

/// Scalar functions: every unary and binary function of loops, for `float`, `double` and, where integers have it, `u32`.
///
/// The file consists of paragraphs between empty lines; each begins with `// name:` and defines the function of that name.
pub const MATH: &str = include_str!("../kernels/math.cu");

/// Access to memory and combination of values, in paragraphs as in [`MATH`]. Some use earlier ones.
pub const LOOPS: &str = include_str!("../kernels/loops.cu");

/// The paragraphs of [`MATH`] and [`LOOPS`] that define the functions named, in the order of the files.
///
/// ```
/// let source = cuda_kernels::device_functions(|name| name == "sigmoid");
/// assert!(source.contains("float math_sigmoid(float x)") && !source.contains("math_tanh"));
/// ```
pub fn device_functions(mut used: impl FnMut(&str) -> bool) -> String {
    let paragraphs = [MATH, LOOPS].into_iter().flat_map(|file| file.split("\n\n"));
    let mut source = String::new();
    for paragraph in paragraphs {
        let Some((head, definition)) = paragraph.split_once('\n') else { continue };
        let name = head.strip_prefix("// ").and_then(|head| head.split_once(':'));
        if name.is_some_and(|(name, _)| used(name)) {
            source.push_str(definition.trim_end());
            source.push('\n');
        }
    }
    source
}
