//! `libcudnn`: convolutions by plain loops, of operands rounded to TF32.

use crate::stream::Action;
use crate::{Machine, Status, machine, refused, status};
use cuda_kernels::convolution::Part;
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::mem::offset_of;

const SUCCESS: c_int = 0;
const NOT_INITIALIZED: c_int = 1001;
const BAD_PARAM: c_int = 2000;
const NOT_SUPPORTED: c_int = 3000;
const EXECUTION_FAILED: c_int = 5000;
const FLOAT: c_int = 0;
const NCHW: c_int = 0;
const CROSS_CORRELATION: c_int = 1;
/// What lets single precision be rounded, and what asks for tensor cores.
const DEFAULT_MATH: c_int = 0;
const TENSOR_MATH: c_int = 1;
/// The algorithm that there is, and what it works in.
const ALGORITHM: c_int = 1;
const WORKSPACE: usize = 100_000;

/// Handles and descriptors of the library.
#[derive(Default)]
pub struct Handles {
    streams: HashMap<usize, usize>,
    descriptors: HashMap<usize, Descriptor>,
}

#[derive(Clone, Copy)]
enum Descriptor {
    Unset,
    /// Lengths of a tensor or of filters.
    Tensor([usize; 4]),
    Filter([usize; 4]),
    Convolution {
        padding: [usize; 2],
        stride: [usize; 2],
        math: c_int,
    },
}

/// A convolution with the addresses of its arrays.
#[derive(Clone)]
pub struct Convolution {
    part: Part,
    images: [usize; 4],
    filters: [usize; 4],
    results: [usize; 4],
    padding: [usize; 2],
    stride: [usize; 2],
    math: c_int,
    addresses: [u64; 3],
    workspace: u64,
}

fn with(work: impl FnOnce(&mut Machine) -> Result<(), c_int>) -> c_int {
    work(&mut machine()).err().unwrap_or(SUCCESS)
}

#[unsafe(no_mangle)]
extern "C" fn cudnnGetVersion() -> usize {
    90_201
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cudnnCreate(handle: *mut usize) -> c_int {
    with(|machine| {
        let number = machine.handle();
        machine.dnn.streams.insert(number, 0);
        // SAFETY: as for the real one.
        unsafe { handle.write(number) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cudnnDestroy(handle: usize) -> c_int {
    with(|machine| machine.dnn.streams.remove(&handle).map(drop).ok_or(NOT_INITIALIZED))
}

#[unsafe(no_mangle)]
extern "C" fn cudnnSetStream(handle: usize, stream: usize) -> c_int {
    with(|machine| {
        *machine.dnn.streams.get_mut(&handle).ok_or(NOT_INITIALIZED)? = stream;
        Ok(())
    })
}

unsafe fn create(descriptor: *mut usize) -> c_int {
    with(|machine| {
        let number = machine.handle();
        machine.dnn.descriptors.insert(number, Descriptor::Unset);
        // SAFETY: as for the real one.
        unsafe { descriptor.write(number) };
        Ok(())
    })
}

fn destroy(descriptor: usize) -> c_int {
    with(|machine| machine.dnn.descriptors.remove(&descriptor).map(drop).ok_or(BAD_PARAM))
}

fn set(descriptor: usize, value: Option<Descriptor>) -> c_int {
    with(|machine| {
        *machine.dnn.descriptors.get_mut(&descriptor).ok_or(BAD_PARAM)? = value.ok_or(BAD_PARAM)?;
        Ok(())
    })
}

/// Lengths that are not 0.
fn lengths<const N: usize>(lengths: [c_int; N]) -> Option<[usize; N]> {
    let lengths = lengths.map(|length| usize::try_from(length).unwrap_or(0));
    (!lengths.contains(&0)).then_some(lengths)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cudnnCreateTensorDescriptor(descriptor: *mut usize) -> c_int {
    // SAFETY: as for the real one.
    unsafe { create(descriptor) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cudnnCreateFilterDescriptor(descriptor: *mut usize) -> c_int {
    // SAFETY: as for the real one.
    unsafe { create(descriptor) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cudnnCreateConvolutionDescriptor(descriptor: *mut usize) -> c_int {
    // SAFETY: as for the real one.
    unsafe { create(descriptor) }
}

#[unsafe(no_mangle)]
extern "C" fn cudnnDestroyTensorDescriptor(descriptor: usize) -> c_int {
    destroy(descriptor)
}

#[unsafe(no_mangle)]
extern "C" fn cudnnDestroyFilterDescriptor(descriptor: usize) -> c_int {
    destroy(descriptor)
}

#[unsafe(no_mangle)]
extern "C" fn cudnnDestroyConvolutionDescriptor(descriptor: usize) -> c_int {
    destroy(descriptor)
}

#[unsafe(no_mangle)]
extern "C" fn cudnnSetTensor4dDescriptor(
    descriptor: usize,
    format: c_int,
    kind: c_int,
    n: c_int,
    c: c_int,
    h: c_int,
    w: c_int,
) -> c_int {
    let shape = lengths([n, c, h, w]).filter(|_| (format, kind) == (NCHW, FLOAT));
    set(descriptor, shape.map(Descriptor::Tensor))
}

#[unsafe(no_mangle)]
extern "C" fn cudnnSetFilter4dDescriptor(
    descriptor: usize,
    kind: c_int,
    format: c_int,
    k: c_int,
    c: c_int,
    h: c_int,
    w: c_int,
) -> c_int {
    let shape = lengths([k, c, h, w]).filter(|_| (format, kind) == (NCHW, FLOAT));
    set(descriptor, shape.map(Descriptor::Filter))
}

#[unsafe(no_mangle)]
extern "C" fn cudnnSetConvolution2dDescriptor(
    descriptor: usize,
    rows: c_int,
    columns: c_int,
    down: c_int,
    across: c_int,
    dilated_down: c_int,
    dilated_across: c_int,
    mode: c_int,
    kind: c_int,
) -> c_int {
    let padding = [rows, columns].map(usize::try_from);
    let value = match (padding, lengths([down, across])) {
        ([Ok(rows), Ok(columns)], Some(stride))
            if [dilated_down, dilated_across, mode, kind] == [1, 1, CROSS_CORRELATION, FLOAT] =>
        {
            Some(Descriptor::Convolution { padding: [rows, columns], stride, math: DEFAULT_MATH })
        }
        _ => None,
    };
    set(descriptor, value)
}

#[unsafe(no_mangle)]
extern "C" fn cudnnSetConvolutionMathType(descriptor: usize, math: c_int) -> c_int {
    with(|machine| match machine.dnn.descriptors.get_mut(&descriptor) {
        Some(Descriptor::Convolution { math: known, .. }) => {
            *known = math;
            Ok(())
        }
        _ => Err(BAD_PARAM),
    })
}

/// What is described, with nothing where it lies; an error where descriptors do not fit each other.
fn described(machine: &Machine, part: Part, [x, w, y, c]: [usize; 4]) -> Result<Convolution, c_int> {
    let of = |number: usize| machine.dnn.descriptors.get(&number).copied();
    let (
        Some(Descriptor::Tensor(images)),
        Some(Descriptor::Filter(filters)),
        Some(Descriptor::Tensor(results)),
        Some(Descriptor::Convolution { padding, stride, math }),
    ) = (of(x), of(w), of(y), of(c))
    else {
        refused(status::INVALID_VALUE, "a convolution's descriptors are not set, or in another order");
        return Err(BAD_PARAM);
    };
    let size = |k: usize| (images[2 + k] + 2 * padding[k]).checked_sub(filters[2 + k]).map(|rest| rest / stride[k] + 1);
    let fits = filters[1] == images[1] && results[..2] == [images[0], filters[0]];
    if !fits || [Some(results[2]), Some(results[3])] != [size(0), size(1)] {
        refused(status::INVALID_VALUE, &format!("{filters:?} filters of {images:?} images give no {results:?}"));
        return Err(BAD_PARAM);
    }
    Ok(Convolution { part, images, filters, results, padding, stride, math, addresses: [0; 3], workspace: 0 })
}

/// What is said of an algorithm.
#[repr(C)]
struct Found {
    algorithm: c_int,
    status: c_int,
    time: f32,
    memory: usize,
    determinism: c_int,
    math: c_int,
    reserved: [c_int; 3],
}

const _: () = assert!(size_of::<Found>() == 48 && offset_of!(Found, memory) == 16);

/// Two algorithms that may not be taken, then the one that there is.
unsafe fn find(
    handle: usize,
    part: Part,
    descriptors: [usize; 4],
    most: c_int,
    count: *mut c_int,
    list: *mut Found,
) -> c_int {
    with(|machine| {
        machine.dnn.streams.get(&handle).ok_or(NOT_INITIALIZED)?;
        described(machine, part, descriptors)?;
        let found = |algorithm, status, determinism| Found {
            algorithm,
            status,
            time: -1.0,
            memory: WORKSPACE,
            determinism,
            math: TENSOR_MATH,
            reserved: [0; 3],
        };
        let all = [found(0, SUCCESS, 0), found(3, NOT_SUPPORTED, 1), found(ALGORITHM, SUCCESS, 1)];
        let given = usize::try_from(most).unwrap_or(0).min(all.len());
        // SAFETY: as for the real one.
        unsafe {
            count.write(given as c_int);
            for (k, found) in all.into_iter().take(given).enumerate() {
                list.add(k).write(found);
            }
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cudnnGetConvolutionForwardAlgorithm_v7(
    handle: usize,
    x: usize,
    w: usize,
    c: usize,
    y: usize,
    most: c_int,
    count: *mut c_int,
    list: *mut Found,
) -> c_int {
    // SAFETY: as for the real one.
    unsafe { find(handle, Part::Results, [x, w, y, c], most, count, list) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cudnnGetConvolutionBackwardDataAlgorithm_v7(
    handle: usize,
    w: usize,
    y: usize,
    c: usize,
    x: usize,
    most: c_int,
    count: *mut c_int,
    list: *mut Found,
) -> c_int {
    // SAFETY: as for the real one.
    unsafe { find(handle, Part::Images, [x, w, y, c], most, count, list) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    handle: usize,
    x: usize,
    y: usize,
    c: usize,
    w: usize,
    most: c_int,
    count: *mut c_int,
    list: *mut Found,
) -> c_int {
    // SAFETY: as for the real one.
    unsafe { find(handle, Part::Filters, [x, w, y, c], most, count, list) }
}

unsafe fn measure(handle: usize, part: Part, descriptors: [usize; 4], algorithm: c_int, bytes: *mut usize) -> c_int {
    with(|machine| {
        machine.dnn.streams.get(&handle).ok_or(NOT_INITIALIZED)?;
        let convolution = described(machine, part, descriptors)?;
        if algorithm != ALGORITHM || convolution.math != TENSOR_MATH {
            return Err(NOT_SUPPORTED);
        }
        // SAFETY: as for the real one.
        unsafe { bytes.write(WORKSPACE) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cudnnGetConvolutionForwardWorkspaceSize(
    handle: usize,
    x: usize,
    w: usize,
    c: usize,
    y: usize,
    algorithm: c_int,
    bytes: *mut usize,
) -> c_int {
    // SAFETY: as for the real one.
    unsafe { measure(handle, Part::Results, [x, w, y, c], algorithm, bytes) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cudnnGetConvolutionBackwardDataWorkspaceSize(
    handle: usize,
    w: usize,
    y: usize,
    c: usize,
    x: usize,
    algorithm: c_int,
    bytes: *mut usize,
) -> c_int {
    // SAFETY: as for the real one.
    unsafe { measure(handle, Part::Images, [x, w, y, c], algorithm, bytes) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cudnnGetConvolutionBackwardFilterWorkspaceSize(
    handle: usize,
    x: usize,
    y: usize,
    c: usize,
    w: usize,
    algorithm: c_int,
    bytes: *mut usize,
) -> c_int {
    // SAFETY: as for the real one.
    unsafe { measure(handle, Part::Filters, [x, w, y, c], algorithm, bytes) }
}

/// A convolution that is asked for: its handle, descriptors, addresses, factors, algorithm, and where it works.
struct Asked {
    handle: usize,
    part: Part,
    descriptors: [usize; 4],
    addresses: [u64; 3],
    factors: [*const c_void; 2],
    algorithm: c_int,
    workspace: (u64, usize),
}

unsafe fn run(asked: Asked) -> c_int {
    with(|machine| {
        let stream = *machine.dnn.streams.get(&asked.handle).ok_or(NOT_INITIALIZED)?;
        let found = described(machine, asked.part, asked.descriptors)?;
        // SAFETY: as for the real one.
        let factors = asked.factors.map(|factor| unsafe { factor.cast::<f32>().read() });
        if asked.algorithm != ALGORITHM || found.math != TENSOR_MATH || factors != [1.0, 0.0] {
            return Err(NOT_SUPPORTED);
        }
        let (workspace, bytes) = asked.workspace;
        if bytes < WORKSPACE {
            refused(status::INVALID_VALUE, "a convolution's workspace is too short");
            return Err(BAD_PARAM);
        }
        let failed = |_| EXECUTION_FAILED;
        machine.memory.check("a convolution's workspace", workspace, bytes).map_err(failed)?;
        for (shape, address) in [found.images, found.filters, found.results].iter().zip(asked.addresses) {
            let bytes = shape.iter().product::<usize>() * size_of::<f32>();
            machine.memory.check("an array of a convolution", address, bytes).map_err(failed)?;
            if !address.is_multiple_of(16) {
                refused(status::INVALID_VALUE, "an array of a convolution is not aligned to 16 bytes");
                return Err(BAD_PARAM);
            }
        }
        let convolution = Convolution { addresses: asked.addresses, workspace, ..found };
        let asked: Result<(), Status> = machine.ask(stream, Action::Convolve(convolution.into()));
        asked.map_err(failed)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cudnnConvolutionForward(
    handle: usize,
    alpha: *const c_void,
    x: usize,
    at_x: u64,
    w: usize,
    at_w: u64,
    c: usize,
    algorithm: c_int,
    workspace: u64,
    bytes: usize,
    beta: *const c_void,
    y: usize,
    at_y: u64,
) -> c_int {
    let (descriptors, addresses, part) = ([x, w, y, c], [at_x, at_w, at_y], Part::Results);
    let (factors, workspace) = ([alpha, beta], (workspace, bytes));
    // SAFETY: as for the real one.
    unsafe { run(Asked { handle, part, descriptors, addresses, factors, algorithm, workspace }) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cudnnConvolutionBackwardData(
    handle: usize,
    alpha: *const c_void,
    w: usize,
    at_w: u64,
    y: usize,
    at_y: u64,
    c: usize,
    algorithm: c_int,
    workspace: u64,
    bytes: usize,
    beta: *const c_void,
    x: usize,
    at_x: u64,
) -> c_int {
    let (descriptors, addresses, part) = ([x, w, y, c], [at_x, at_w, at_y], Part::Images);
    let (factors, workspace) = ([alpha, beta], (workspace, bytes));
    // SAFETY: as for the real one.
    unsafe { run(Asked { handle, part, descriptors, addresses, factors, algorithm, workspace }) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cudnnConvolutionBackwardFilter(
    handle: usize,
    alpha: *const c_void,
    x: usize,
    at_x: u64,
    y: usize,
    at_y: u64,
    c: usize,
    algorithm: c_int,
    workspace: u64,
    bytes: usize,
    beta: *const c_void,
    w: usize,
    at_w: u64,
) -> c_int {
    let (descriptors, addresses, part) = ([x, w, y, c], [at_x, at_w, at_y], Part::Filters);
    let (factors, workspace) = ([alpha, beta], (workspace, bytes));
    // SAFETY: as for the real one.
    unsafe { run(Asked { handle, part, descriptors, addresses, factors, algorithm, workspace }) }
}

impl Convolution {
    /// Computes it.
    ///
    /// # Safety
    /// Its arrays and its workspace lie in memory.
    pub unsafe fn perform(&self) {
        let [_, channels, rows, columns] = self.images;
        let [outputs, _, h, w] = self.filters;
        let [count, _, down, across] = self.results;
        let shapes = [self.images, self.filters, self.results];
        let written = match self.part {
            Part::Images => 0,
            Part::Filters => 1,
            Part::Results => 2,
        };
        let mut arrays = [0, 1, 2].map(|k| {
            let length = shapes[k].iter().product();
            if k == written {
                return vec![0.0; length];
            }
            // SAFETY: the caller's promise.
            let values = unsafe { std::slice::from_raw_parts(self.addresses[k] as *const f32, length) };
            values.iter().map(|&value| f64::from(tf32(value))).collect::<Vec<f64>>()
        });
        let [x, f, y] = &mut arrays;
        for (n, o, c, u, v, p) in positions([count, outputs, channels, h, w, down]) {
            let row = (p * self.stride[0] + u).wrapping_sub(self.padding[0]);
            if row >= rows {
                continue;
            }
            let (tap, line) = (((o * channels + c) * h + u) * w + v, ((n * outputs + o) * down + p) * across);
            let from = ((n * channels + c) * rows + row) * columns;
            for q in 0..across {
                let column = (q * self.stride[1] + v).wrapping_sub(self.padding[1]);
                if column < columns {
                    match self.part {
                        Part::Images => x[from + column] += f[tap] * y[line + q],
                        Part::Filters => f[tap] += x[from + column] * y[line + q],
                        Part::Results => y[line + q] += x[from + column] * f[tap],
                    }
                }
            }
        }
        // SAFETY: the caller's promise. What is left in the workspace is no number.
        unsafe {
            std::ptr::write_bytes(self.workspace as *mut u8, 0xff, WORKSPACE);
            let to = self.addresses[written] as *mut f32;
            arrays[written].iter().enumerate().for_each(|(k, &value)| to.add(k).write(value as f32));
        }
    }
}

fn positions([a, b, c, d, e, f]: [usize; 6]) -> impl Iterator<Item = (usize, usize, usize, usize, usize, usize)> {
    let outer = (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))));
    let inner = move || (0..d).flat_map(move |l| (0..e).flat_map(move |m| (0..f).map(move |n| (l, m, n))));
    outer.flat_map(move |(i, j, k)| inner().map(move |(l, m, n)| (i, j, k, l, m, n)))
}

/// A number rounded to the 10 bits of mantissa of TF32.
fn tf32(value: f32) -> f32 {
    if value.is_finite() { f32::from_bits((value.to_bits() + 0x1000) & !0x1fff) } else { value }
}
