//! Pooling against plain loops over windows.

use crate::reference::interpreter::{Bindings, Value, evaluate_reals};
use autograd::{DType, Tape};

/// All windows of an image, each as the numbers inside of the image.
fn windows(x: &[f64], [h, w]: [usize; 2], size: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Vec<Vec<f64>> {
    let count = |k: usize, length: usize| (length + 2 * padding[k] - size[k]) / stride[k] + 1;
    let mut all = Vec::new();
    for (i, j) in (0..count(0, h)).flat_map(|i| (0..count(1, w)).map(move |j| (i, j))) {
        let mut inside = Vec::new();
        for (u, v) in (0..size[0]).flat_map(|u| (0..size[1]).map(move |v| (u, v))) {
            let (row, column) =
                ((i * stride[0] + u).wrapping_sub(padding[0]), (j * stride[1] + v).wrapping_sub(padding[1]));
            if row < h && column < w {
                inside.push(x[row * w + column]);
            }
        }
        all.push(inside);
    }
    all
}

#[test]
fn maxima_and_means_are_those_of_the_windows() {
    let x: Vec<f64> = (0..35).map(|k| f64::from((k * 17 + 5) % 35) - 20.0).collect();
    for (size, stride, padding) in [
        ([2, 2], [2, 2], [0, 0]),
        ([3, 2], [3, 2], [0, 0]),
        ([3, 3], [2, 2], [1, 1]),
        ([2, 3], [1, 1], [1, 0]),
        ([1, 1], [3, 2], [0, 0]),
    ] {
        let mut tape = Tape::new();
        let images = tape.input(&[1, 5, 7], DType::F64);
        let most = tape.max_pool2d(images, size, stride, padding).unwrap();
        let mean = tape.mean_pool2d(images, size, stride, padding).unwrap();
        let given: Bindings = [(images, Value::Real(x.clone()))].into();
        let found = evaluate_reals(&tape, &[most, mean], &given);
        let expected = windows(&x, [5, 7], size, stride, padding);
        let maxima: Vec<f64> = expected.iter().map(|w| w.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect();
        let area = (size[0] * size[1]) as f64;
        assert_eq!(found[0], maxima, "maxima of {size:?}, {stride:?}, {padding:?}");
        for (found, window) in found[1].iter().zip(&expected) {
            assert!(
                (found - window.iter().sum::<f64>() / area).abs() < 1e-12,
                "means of {size:?}, {stride:?}, {padding:?}"
            );
        }
    }
}

#[test]
fn windows_that_do_not_fit_are_refused() {
    let mut tape = Tape::new();
    let x = tape.input(&[3, 4], DType::F64);
    for (size, stride, padding, why) in [
        ([4, 1], [1, 1], [0, 0], "larger than"),
        ([1, 1], [0, 1], [0, 0], "positive"),
        ([2, 2], [1, 1], [2, 0], "half the window"),
    ] {
        let error = tape.max_pool2d(x, size, stride, padding).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
