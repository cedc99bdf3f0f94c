//! Convolutions by cuDNN.

use super::library::CUDNN;
use crate::convolution::{Convolution, Convolve, Part, Way};
use crate::{Error, device::Result};
use cudarc::cudnn::{result, sys};
use cudarc::driver;
use std::ffi::{c_int, c_void};

/// The oldest version that is used, 9.0.0 as cuDNN counts: earlier ones have other functions.
const OLDEST: usize = 90_000;
/// Most bytes that a convolution may work in.
const WORKSPACE: usize = 1 << 28;
/// Algorithms that are looked at, more than there are.
const ALGORITHMS: usize = 16;

/// The arithmetic and the algorithms by their numbers, so that one that is new to us is left alone.
const MATH: [sys::cudnnMathType_t; 4] = {
    use sys::cudnnMathType_t::{
        CUDNN_DEFAULT_MATH, CUDNN_FMA_MATH, CUDNN_TENSOR_OP_MATH, CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION,
    };
    [CUDNN_DEFAULT_MATH, CUDNN_TENSOR_OP_MATH, CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION, CUDNN_FMA_MATH]
};
const RESULTS: [sys::cudnnConvolutionFwdAlgo_t; 8] = {
    use sys::cudnnConvolutionFwdAlgo_t::*;
    [
        CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM,
        CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
        CUDNN_CONVOLUTION_FWD_ALGO_GEMM,
        CUDNN_CONVOLUTION_FWD_ALGO_DIRECT,
        CUDNN_CONVOLUTION_FWD_ALGO_FFT,
        CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING,
        CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD,
        CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED,
    ]
};
const IMAGES: [sys::cudnnConvolutionBwdDataAlgo_t; 6] = {
    use sys::cudnnConvolutionBwdDataAlgo_t::*;
    [
        CUDNN_CONVOLUTION_BWD_DATA_ALGO_0,
        CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
        CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT,
        CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING,
        CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD,
        CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED,
    ]
};
const FILTERS: [sys::cudnnConvolutionBwdFilterAlgo_t; 7] = {
    use sys::cudnnConvolutionBwdFilterAlgo_t::*;
    [
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING,
    ]
};

/// cuDNN on a stream.
#[derive(Debug)]
pub(super) struct Dnn {
    handle: sys::cudnnHandle_t,
}

// SAFETY: the handle is used by one thread at a time, under its owner's lock.
unsafe impl Send for Dnn {}

fn failed(error: result::CudnnError) -> Error {
    Error::Driver(format!("cuDNN: {error:?}"))
}

/// cuDNN's version, as in `9.2.1`.
pub(crate) fn version() -> Result<String> {
    CUDNN.require()?;
    let version = result::get_version();
    Ok(format!("{}.{}.{}", version / 10_000, version % 10_000 / 100, version % 100))
}

/// Whether the loader finds cuDNN in a version that can be used.
pub(super) fn present() -> bool {
    // SAFETY: opens the library, which runs its initialisers, as in any program that links it.
    let opens = unsafe { sys::is_culib_present() };
    opens && result::get_version() >= OLDEST
}

/// What cuDNN says of an algorithm, for all three parts. Numbers instead of enumerations: newer versions may have more of them.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Found {
    algorithm: u32,
    status: u32,
    time: f32,
    memory: usize,
    determinism: u32,
    math: u32,
    reserved: [c_int; 3],
}

/// A convolution as cuDNN is told of it.
struct Described {
    images: sys::cudnnTensorDescriptor_t,
    filters: sys::cudnnFilterDescriptor_t,
    results: sys::cudnnTensorDescriptor_t,
    convolution: sys::cudnnConvolutionDescriptor_t,
}

impl Dnn {
    /// A handle that works on a stream of the current context.
    ///
    /// # Safety
    /// The stream outlives the handle.
    pub(super) unsafe fn new(stream: driver::sys::CUstream) -> Result<Self> {
        CUDNN.require()?;
        let mut dnn = Self { handle: std::ptr::null_mut() };
        // SAFETY: destroyed when dropped; the stream lives by the caller's promise.
        unsafe {
            sys::cudnnCreate(&mut dnn.handle).result().map_err(failed)?;
            sys::cudnnSetStream(dnn.handle, stream.cast()).result().map_err(failed)?;
        }
        Ok(dnn)
    }

    /// The way that cuDNN expects to be the quickest of those that give the same bits each time; `None` where it has none.
    pub(super) fn way(&self, convolution: &Convolution) -> Result<Option<Way>> {
        let described = Described::new(convolution)?;
        let &Described { images: x, filters: w, results: y, convolution: c } = &described;
        let (mut count, mut found) = (0, [Found::default(); ALGORITHMS]);
        let (most, handle, list) = (ALGORITHMS as c_int, self.handle, found.as_mut_ptr());
        // SAFETY: handle and descriptors live; the list is as long as is said, of elements as cuDNN lays them out.
        let status = unsafe {
            match convolution.part {
                Part::Results => {
                    sys::cudnnGetConvolutionForwardAlgorithm_v7(handle, x, w, c, y, most, &mut count, list.cast())
                }
                Part::Images => {
                    sys::cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, w, y, c, x, most, &mut count, list.cast())
                }
                Part::Filters => sys::cudnnGetConvolutionBackwardFilterAlgorithm_v7(
                    handle,
                    x,
                    y,
                    c,
                    w,
                    most,
                    &mut count,
                    list.cast(),
                ),
            }
        };
        status.result().map_err(failed)?;
        let found = &found[..usize::try_from(count).unwrap_or(0).min(ALGORITHMS)];
        let repeats = sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC as u32;
        let usable = |way: &&Found| way.status == 0 && way.determinism == repeats && way.memory <= WORKSPACE;
        for &Found { algorithm, math, .. } in found.iter().filter(usable) {
            let way = Way { algorithm, math, bytes: 0 };
            if let Ok(bytes) = self.workspace(&described, convolution.part, way)
                && bytes <= WORKSPACE
            {
                return Ok(Some(Way { bytes, ..way }));
            }
        }
        Ok(None)
    }

    /// Computes the part.
    ///
    /// # Safety
    /// As for `Device::run`.
    pub(super) unsafe fn run(&self, convolve: &Convolve) -> Result<()> {
        let &Convolve { convolution, way, workspace } = convolve;
        let described = Described::new(&convolution)?;
        described.choose(way)?;
        let &Described { images: x, filters: w, results: y, convolution: c } = &described;
        let place = |address: u64| address as *mut c_void;
        let [at_x, at_w, at_y] =
            [convolution.images, convolution.filters, convolution.results].map(|stack| place(stack.address));
        let (space, bytes) = (if way.bytes > 0 { place(workspace) } else { std::ptr::null_mut() }, way.bytes);
        let factors = [1.0_f32, 0.0];
        let [one, zero] = [0, 1].map(|k| (&raw const factors[k]).cast());
        let handle = self.handle;
        // SAFETY: the caller's promise; the factors live through the call.
        unsafe {
            match convolution.part {
                Part::Results => {
                    let algorithm = numbered(&RESULTS, way.algorithm)?;
                    sys::cudnnConvolutionForward(
                        handle, one, x, at_x, w, at_w, c, algorithm, space, bytes, zero, y, at_y,
                    )
                }
                Part::Images => {
                    let algorithm = numbered(&IMAGES, way.algorithm)?;
                    sys::cudnnConvolutionBackwardData(
                        handle, one, w, at_w, y, at_y, c, algorithm, space, bytes, zero, x, at_x,
                    )
                }
                Part::Filters => {
                    let algorithm = numbered(&FILTERS, way.algorithm)?;
                    sys::cudnnConvolutionBackwardFilter(
                        handle, one, x, at_x, y, at_y, c, algorithm, space, bytes, zero, w, at_w,
                    )
                }
            }
        }
        .result()
        .map_err(|error| match failed(error) {
            Error::Driver(text) => {
                Error::Driver(format!("{text}; LIVI_CUDNN=0 leaves convolutions to our own kernels"))
            }
            other => other,
        })
    }

    /// Bytes that a way works in.
    fn workspace(&self, described: &Described, part: Part, way: Way) -> Result<usize> {
        described.choose(way)?;
        let &Described { images: x, filters: w, results: y, convolution: c } = described;
        let (mut bytes, handle) = (0, self.handle);
        // SAFETY: handle and descriptors live.
        unsafe {
            match part {
                Part::Results => {
                    let algorithm = numbered(&RESULTS, way.algorithm)?;
                    sys::cudnnGetConvolutionForwardWorkspaceSize(handle, x, w, c, y, algorithm, &mut bytes)
                }
                Part::Images => {
                    let algorithm = numbered(&IMAGES, way.algorithm)?;
                    sys::cudnnGetConvolutionBackwardDataWorkspaceSize(handle, w, y, c, x, algorithm, &mut bytes)
                }
                Part::Filters => {
                    let algorithm = numbered(&FILTERS, way.algorithm)?;
                    sys::cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, x, y, c, w, algorithm, &mut bytes)
                }
            }
        }
        .result()
        .map_err(failed)?;
        Ok(bytes)
    }
}

fn numbered<T: Copy>(known: &[T], number: u32) -> Result<T> {
    let unknown = || Error::Driver(format!("cuDNN: number {number} is not known"));
    known.get(number as usize).copied().ok_or_else(unknown)
}

impl Drop for Dnn {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: made by `new` and not destroyed before. There is nobody to tell of a failure.
            let _ = unsafe { sys::cudnnDestroy(self.handle) };
        }
    }
}

impl Described {
    fn new(convolution: &Convolution) -> Result<Self> {
        use sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
        use sys::cudnnDataType_t::CUDNN_DATA_FLOAT;
        use sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW;
        let mut described = Self {
            images: std::ptr::null_mut(),
            filters: std::ptr::null_mut(),
            results: std::ptr::null_mut(),
            convolution: std::ptr::null_mut(),
        };
        // Lengths fit, as the convolution is one for cuDNN.
        let shapes = convolution.shapes().map(|shape| shape.map(|length| length as c_int));
        let [[n, c, h, w], [k, _, u, v], [_, _, p, q]] = shapes;
        let [stride, padding] =
            [convolution.stride, convolution.padding].map(|pair| pair.map(|length| length as c_int));
        let ok = |status: sys::cudnnStatus_t| status.result().map_err(failed);
        // SAFETY: descriptors are created before they are set, and destroyed when dropped.
        unsafe {
            ok(sys::cudnnCreateTensorDescriptor(&mut described.images))?;
            ok(sys::cudnnCreateFilterDescriptor(&mut described.filters))?;
            ok(sys::cudnnCreateTensorDescriptor(&mut described.results))?;
            ok(sys::cudnnCreateConvolutionDescriptor(&mut described.convolution))?;
            ok(sys::cudnnSetTensor4dDescriptor(described.images, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, n, c, h, w))?;
            ok(sys::cudnnSetFilter4dDescriptor(described.filters, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, k, c, u, v))?;
            ok(sys::cudnnSetTensor4dDescriptor(described.results, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, n, k, p, q))?;
            ok(sys::cudnnSetConvolution2dDescriptor(
                described.convolution,
                padding[0],
                padding[1],
                stride[0],
                stride[1],
                1,
                1,
                CUDNN_CROSS_CORRELATION,
                CUDNN_DATA_FLOAT,
            ))?;
            // What lets cuDNN round single precision to TF32; until a way is chosen.
            ok(sys::cudnnSetConvolutionMathType(described.convolution, MATH[0]))?;
        }
        Ok(described)
    }

    /// Sets the arithmetic of a way.
    fn choose(&self, way: Way) -> Result<()> {
        let math = numbered(&MATH, way.math)?;
        // SAFETY: the descriptor lives.
        unsafe { sys::cudnnSetConvolutionMathType(self.convolution, math) }.result().map_err(failed)
    }
}

impl Drop for Described {
    fn drop(&mut self) {
        // SAFETY: created once, or null, and not destroyed before. There is nobody to tell of a failure.
        unsafe {
            if !self.images.is_null() {
                let _ = sys::cudnnDestroyTensorDescriptor(self.images);
            }
            if !self.filters.is_null() {
                let _ = sys::cudnnDestroyFilterDescriptor(self.filters);
            }
            if !self.results.is_null() {
                let _ = sys::cudnnDestroyTensorDescriptor(self.results);
            }
            if !self.convolution.is_null() {
                let _ = sys::cudnnDestroyConvolutionDescriptor(self.convolution);
            }
        }
    }
}
