//! Convolutions as a card computes them, by cuDNN where it is installed.

use super::duties::{memory_of, values_of};
use cuda_kernels::convolution::{Convolution, Part, Stack};
use cuda_kernels::{Command, Device, Memory, Precision, Real, Toolkit};

/// Parts of convolutions that are large enough for cuDNN, in one sequence that is run until it is a graph. Numbers are small and whole, so that all sums
/// are exact on tensor cores too; some elements are looked at, among them those at the ends of all axes.
pub fn large_in_tf32(device: &Device) {
    let (groups, count, channels, outputs) = (2, 32, 64, 68);
    let (image, filter, stride, padding, result) = ([21, 17], [3, 4], [2, 1], [1, 2], [11, 18]);
    let shapes = [
        [groups, count, channels, image[0], image[1]],
        [groups, outputs, channels, filter[0], filter[1]],
        [groups, count, outputs, result[0], result[1]],
    ];
    let number = |k: usize, place: usize| ((place * 7919 + place / 97 * 31 + 5 * k) % 11) as f32 - 5.0;
    let whole = |k: usize| -> Vec<f32> { (0..shapes[k].iter().product()).map(|place| number(k, place)).collect() };
    let operands: Vec<Memory> = (0..3).map(|k| memory_of(device, &whole(k))).collect();
    let strides = |[_, b, c, d, e]: [usize; 5]| [b * c * d * e, c * d * e, d * e, e, 1];
    // Images that groups have of their own, then those of the first for both.
    let mut written = Vec::new();
    let mut scratch = Vec::new();
    let mut commands = Vec::new();
    for (part, shared) in [
        (Part::Images, false),
        (Part::Filters, false),
        (Part::Filters, true),
        (Part::Results, false),
        (Part::Results, true),
    ] {
        let own = [Part::Images, Part::Filters, Part::Results].iter().position(|other| *other == part).unwrap();
        let out = memory_of(device, &vec![f32::NAN; shapes[own].iter().product()]);
        let stack = |k: usize| {
            let mut stack = Stack { address: operands[k].address(), strides: strides(shapes[k]) };
            if k == own {
                stack.address = out.address();
            }
            if k == 0 && shared {
                stack.strides[0] = 0;
            }
            stack
        };
        let convolution = Convolution {
            real: Real::F32,
            precision: Precision::Tf32,
            part,
            groups,
            count,
            channels,
            outputs,
            image,
            filter,
            result,
            stride,
            padding,
            images: stack(0),
            filters: stack(1),
            results: stack(2),
        };
        assert!(convolution.is_for_cudnn());
        let made = device.convolution(&convolution, &mut |bytes| {
            scratch.push(device.allocate(bytes).unwrap());
            scratch[scratch.len() - 1].address()
        });
        commands.extend(made.unwrap());
        written.push((own, convolution, out));
    }
    let has_cudnn = Toolkit::find().found().iter().any(|line| line.starts_with("cuDNN "));
    let calls = commands.iter().filter(|command| matches!(command, Command::Convolve(_))).count();
    assert!(!has_cudnn || device.name() == "emulated" || calls == 5 * groups, "{calls} calls of cuDNN");
    let mut sequence = device.prepare(commands).unwrap();
    for _ in 0..3 {
        unsafe { device.run(&mut sequence).unwrap() };
    }
    assert!(sequence.is_graph() || device.name() == "emulated", "{:?}", sequence.refusal());
    for (own, Convolution { part, images, .. }, out) in &written {
        let found = values_of::<f32>(device, out);
        for k in 0..300 {
            let at = shapes[*own].map(|length| match k {
                0 => 0,
                1 => length - 1,
                _ => (k * 7919 + length * 31) / (length + k % 5) % length,
            });
            let place = |k: usize, at: [usize; 5]| -> usize {
                let mut strides = strides(shapes[k]);
                if k == 0 {
                    strides[0] = images.strides[0];
                }
                at.iter().zip(strides).map(|(i, stride)| i * stride).sum()
            };
            let value = |k: usize, at| f64::from(number(k, place(k, at)));
            // Where a position and a tap meet in the images.
            let meet = |p: usize, q: usize, u: usize, v: usize| {
                let at = [(p * stride[0] + u).wrapping_sub(padding[0]), (q * stride[1] + v).wrapping_sub(padding[1])];
                (at[0] < image[0] && at[1] < image[1]).then_some(at)
            };
            let taps = || (0..filter[0] * filter[1]).map(|tap| (tap / filter[1], tap % filter[1]));
            let positions = || (0..result[0] * result[1]).map(|at| (at / result[1], at % result[1]));
            let mut sum = 0.0;
            match (part, at) {
                (Part::Results, [g, n, o, p, q]) => {
                    for (c, (u, v)) in (0..channels).flat_map(|c| taps().map(move |tap| (c, tap))) {
                        if let Some([i, j]) = meet(p, q, u, v) {
                            sum += value(0, [g, n, c, i, j]) * value(1, [g, o, c, u, v]);
                        }
                    }
                }
                (Part::Images, [g, n, c, i, j]) => {
                    for ((u, v), (p, q)) in taps().flat_map(|tap| positions().map(move |at| (tap, at))) {
                        if meet(p, q, u, v) == Some([i, j]) {
                            sum += (0..outputs)
                                .map(|o| value(1, [g, o, c, u, v]) * value(2, [g, n, o, p, q]))
                                .sum::<f64>();
                        }
                    }
                }
                (Part::Filters, [g, o, c, u, v]) => {
                    for (n, (p, q)) in (0..count).flat_map(|n| positions().map(move |at| (n, at))) {
                        if let Some([i, j]) = meet(p, q, u, v) {
                            sum += value(0, [g, n, c, i, j]) * value(2, [g, n, o, p, q]);
                        }
                    }
                }
            }
            assert_eq!(f64::from(found[place_of(shapes[*own], at)]), sum, "{part:?} at {at:?}, {images:?}");
        }
    }
}

/// The place of an element of a contiguous array.
fn place_of(shape: [usize; 5], at: [usize; 5]) -> usize {
    at.iter().zip(shape).fold(0, |place, (i, length)| place * length + i)
}
