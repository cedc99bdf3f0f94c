//! The kernels' texts and launches.

use super::arrange::Arrangement;
use super::body::Body;
use super::layout::{Axis, Space};
use super::lower_loop;
use crate::DType;
use crate::exec::cuda::Lowering;
use crate::exec::view::{Site, Window};
use crate::op::{Binary, Unary};
use crate::plan::step::{Action, Instruction, Loop, Operand, Reduction, Step};
use cuda_kernels::{Command, Launch, Precision};
use std::panic::Location;

type Stores = Vec<(Operand, Window, Option<Reduction>)>;

/// A loop by hand.
struct Sketch {
    dtype: DType,
    shape: Vec<usize>,
    loads: Vec<Window>,
    code: Vec<Instruction>,
    stores: Stores,
}

impl Sketch {
    fn with_site<R>(&self, f: impl FnOnce(&Site<'_>) -> R) -> R {
        let empty = Loop { shape: vec![], dtype: self.dtype, loads: vec![], code: vec![], stores: vec![] };
        let action = Action::Loop(empty);
        let step = Step { action, op: "test", location: Location::caller(), flops: 0.0, bytes: 0.0 };
        f(&Site { buffers: &[], bases: &[], step: &step })
    }

    fn body(&self) -> Body {
        self.with_site(|site| Body::new(site, self.dtype, &self.shape, &self.loads, &self.code, &self.stores).unwrap())
    }

    /// Commands and bytes of scratch memory.
    fn lowered(&self) -> (Vec<Command>, usize) {
        let mut lowering = Lowering {
            device: cuda_kernels::Device::emulated().unwrap(),
            commands: Vec::new(),
            precision: Precision::Full,
            status: 0,
            noise: 0,
            step: 0,
            fallible: Vec::new(),
            scratch: 1 << 40,
            scratch_used: 0,
            scratch_bytes: 0,
        };
        let Self { dtype, shape, loads, code, stores } = self;
        self.with_site(|site| lower_loop(site, *dtype, shape, loads, code, stores, &mut lowering)).unwrap();
        (lowering.commands, lowering.scratch_bytes)
    }

    fn launches(&self) -> Vec<Launch> {
        let launch = |command| match command {
            Command::Launch(launch) => launch,
            other => panic!("{other:?} is no launch"),
        };
        self.lowered().0.into_iter().map(launch).collect()
    }

    fn launch(&self) -> Launch {
        let mut launches = self.launches();
        assert_eq!(launches.len(), 1);
        launches.remove(0)
    }
}

fn window(address: usize, shape: &[usize], strides: &[usize], dtype: DType) -> Window {
    Window { pointer: address as *mut u8, shape: shape.to_vec(), strides: strides.to_vec(), dtype }
}

fn dense(address: usize, shape: &[usize], dtype: DType) -> Window {
    let mut strides = vec![1; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = strides[k] * shape[k];
    }
    window(address, shape, &strides, dtype)
}

/// y = exp(x) for all elements.
fn exponential(shape: &[usize], x: Window, y: Window) -> Sketch {
    Sketch {
        dtype: DType::F32,
        shape: shape.to_vec(),
        loads: vec![x],
        code: vec![Instruction::Unary(Unary::Exp, Operand::Load(0))],
        stores: vec![(Operand::Register(0), y, None)],
    }
}

/// The sum over the first axis or the last of a matrix.
fn sum(shape: [usize; 2], first: bool, dtype: DType) -> Sketch {
    let strides = if first { [0, 1] } else { [1, 0] };
    let to = window(1 << 36, &shape, &strides, dtype);
    Sketch {
        dtype,
        shape: shape.to_vec(),
        loads: vec![dense(1 << 20, &shape, dtype)],
        code: vec![],
        stores: vec![(Operand::Load(0), to, Some(Reduction::Sum))],
    }
}

#[test]
fn equal_loops_at_other_addresses_share_their_kernel() {
    let shape = [300, 1000];
    let at = |x, y| exponential(&shape, dense(x, &shape, DType::F32), dense(y, &shape, DType::F32)).launch();
    let (first, second) = (at(1 << 20, 1 << 24), at(1 << 28, 3 << 24));
    assert_eq!(first.kernel, second.kernel);
    assert_ne!(first.arguments, second.arguments);
    // An address that fits no pack of four needs another text, and an overlap another one.
    assert_ne!(first.kernel, at((1 << 28) + 4, 3 << 24).kernel);
    assert_ne!(first.kernel, at(1 << 20, 1 << 20).kernel);
    assert!(!at(1 << 20, 1 << 20).kernel.source.contains("__restrict__"));
}

#[test]
fn contiguous_axes_become_one_and_need_no_division() {
    let shape = [4, 5, 1, 600, 70];
    let launch = exponential(&shape, dense(1 << 20, &shape, DType::F32), dense(1 << 24, &shape, DType::F32)).launch();
    assert!(!launch.kernel.source.contains('%'), "{}", launch.kernel.source);
    assert!(launch.kernel.source.contains("math_exp") && !launch.kernel.source.contains("math_tanh"));
}

#[test]
fn axes_stand_in_the_order_of_the_store() {
    let x = window(1 << 20, &[6, 7, 8], &[1, 48, 6], DType::F32);
    let y = window(1 << 24, &[6, 7, 8], &[1, 48, 6], DType::F32);
    let space = Space::new(&exponential(&[6, 7, 8], x, y).body());
    assert_eq!(space.kept, [Axis { length: 6 * 7 * 8, strides: vec![1, 1] }]);
}

#[test]
fn a_single_point_is_one_warp_and_a_large_loop_many_blocks() {
    let one = exponential(&[], dense(1 << 20, &[], DType::F32), dense(1 << 24, &[], DType::F32)).launch();
    assert_eq!((one.grid, one.block), ([1, 1, 1], [32, 1, 1]));
    let shape = [27_000_000];
    let many = exponential(&shape, dense(1 << 20, &shape, DType::F32), dense(1 << 30, &shape, DType::F32)).launch();
    assert!(many.grid[0] > 132 * 8, "{:?}", many.grid);
}

#[test]
fn indices_have_64_bits_where_32_do_not_reach() {
    let at = |shape: &[usize], strides: &[usize]| {
        let views = [1 << 40, 1 << 44].map(|address| window(address, shape, strides, DType::F32));
        let [x, y] = views;
        exponential(shape, x, y).launch().kernel.source
    };
    assert!(!at(&[(1 << 31) - (1 << 20)], &[1]).contains("u64 i"));
    assert!(at(&[1 << 31], &[1]).contains("u64 i"));
    // Few points far apart.
    assert!(at(&[100, 3], &[1 << 25, 1]).contains("u64 i"));
    let long = sum([1 << 16, 1 << 16], true, DType::F32).launches();
    assert!(long[0].kernel.source.contains("u64 i"));
    assert!(!sum([1 << 12, 1 << 16], true, DType::F32).launches()[0].kernel.source.contains("u64 i"));
}

#[test]
fn loads_that_run_across_the_store_are_turned_in_shared_memory() {
    let turned = |rows, columns| {
        let x = window(1 << 20, &[3, rows, columns], &[rows * columns, 1, rows], DType::F32);
        let source = exponential(&[3, rows, columns], x, dense(1 << 30, &[3, rows, columns], DType::F32)).launch();
        source.kernel.source.contains("__shared__")
    };
    assert!(turned(500, 300));
    // A few columns, or few points: caches do.
    assert!(!turned(5000, 3));
    assert!(!turned(20, 20));
}

#[test]
fn what_no_store_needs_is_not_computed_and_equal_loads_are_loaded_once() {
    let shape = [100];
    let x = dense(1 << 20, &shape, DType::F32);
    let sketch = Sketch {
        dtype: DType::F32,
        shape: shape.to_vec(),
        loads: vec![dense(1 << 22, &shape, DType::F32), x.clone(), x],
        code: vec![
            Instruction::Unary(Unary::Sin, Operand::Load(0)),
            Instruction::Binary(Binary::Mul, Operand::Load(1), Operand::Load(2)),
        ],
        stores: vec![(Operand::Register(1), dense(1 << 24, &shape, DType::F32), None)],
    };
    let launch = sketch.launch();
    assert_eq!(launch.arguments.len(), 2);
    assert!(launch.kernel.source.contains("math_mul(x0, x0)") && !launch.kernel.source.contains("sin"));
}

#[test]
fn zeros_are_filled_in_without_a_kernel() {
    let fill = |bits: u64, strides: [usize; 2]| {
        let to = window(1 << 20, &[10, 20], &strides, DType::F64);
        let stores = vec![(Operand::Constant(bits), to, None)];
        Sketch { dtype: DType::F64, shape: vec![10, 20], loads: vec![], code: vec![], stores }.lowered().0
    };
    assert_eq!(fill(0, [20, 1]), [Command::Zero { to: 1 << 20, bytes: 1600 }]);
    assert!(matches!(fill(0, [21, 1])[..], [Command::Launch(_)]));
    assert!(matches!(fill((-0.0_f64).to_bits(), [20, 1])[..], [Command::Launch(_)]));
}

#[test]
fn few_long_sums_are_cut_into_segments_and_others_are_not() {
    for (shape, first, segmented) in [
        ([1, 4_000_000], false, true),
        ([4_000_000, 4], true, true),
        ([10, 500_000], false, true),
        ([64, 128], false, false),
        ([100_000, 100], false, false),
        ([100, 100_000], true, false),
        ([1, 5000], false, false),
    ] {
        let (commands, scratch) = sum(shape, first, DType::F32).lowered();
        assert_eq!(commands.len(), 1 + usize::from(segmented), "{shape:?}");
        assert_eq!(scratch > 0, segmented, "{shape:?}");
        assert!(scratch < 1 << 20, "{shape:?}: {scratch} bytes");
    }
}

#[test]
fn arrangements_cover_all_terms_with_blocks_that_a_card_takes() {
    let lengths = [2, 3, 7, 10, 31, 32, 100, 257, 1000, 4096, 60_000, 1_000_003];
    for (rows, columns) in lengths.iter().flat_map(|&rows| lengths.map(|columns| (rows, columns))) {
        for (first, dtype) in [(true, DType::F32), (true, DType::F64), (false, DType::F32), (false, DType::F64)] {
            if rows * columns > 1 << 31 {
                continue;
            }
            let body = sum([rows, columns], first, dtype).body();
            let space = Space::new(&body);
            let arrangement = Arrangement::new(&body, &space);
            let Arrangement { rows: by_rows, pack, across, along, flight, segment, segments } = arrangement;
            let what = format!("{rows} by {columns}: {arrangement:?}");
            assert_eq!(by_rows, !first, "{what}");
            let threads = across * along;
            assert!(along.is_power_of_two() && threads <= 1024, "{what}");
            assert!(!by_rows || along == 1 || threads.is_multiple_of(32), "{what}");
            let terms = space.terms() / if by_rows { pack } else { 1 };
            assert!(segment * segments >= terms && segment * (segments - 1) < terms, "{what}");
            assert!(flight.is_power_of_two() && flight <= 8, "{what}");
            assert!(space.terms().is_multiple_of(if by_rows { pack } else { 1 }), "{what}");
        }
    }
}
