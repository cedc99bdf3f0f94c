//! The duties themselves.

use cuda_kernels::{Argument, Command, Device, Error, Gemm, Kernel, Launch, Matrix, Memory, Precision, Real, Task};

const SOURCE: &str = r#"
extern "C" __global__ void add(const float* a, const float* b, float* out, u32 count, float scale) {
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) out[i] = a[i] + scale * b[i];
}

// One sum a block, through shared memory.
extern "C" __global__ void __launch_bounds__(128) block_sums(const double* x, double* out) {
    __shared__ double part[128];
    part[threadIdx.x] = x[blockIdx.x * 128 + threadIdx.x];
    __syncthreads();
    for (u32 half = 64; half > 0; half /= 2) {
        if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) out[blockIdx.x] = part[0];
}

// One sum a warp, through shuffles; the warps then meet at a barrier.
extern "C" __global__ void warp_sums(const float* x, float* out) {
    extern __shared__ unsigned char shared_memory[];
    float* sums = (float*)shared_memory;
    float value = x[threadIdx.x];
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x < blockDim.x / 32) out[threadIdx.x] = sums[threadIdx.x];
}

// Values that are aligned to 16 bytes, on the stacks of threads that wait for each other.
extern "C" __global__ void aligned(const float* x, float* out) {
    float4 values[4];
    for (int k = 0; k < 4; k++) values[k] = make_float4(x[0], x[1], x[2], x[3] + k);
    __syncthreads();
    float sum = 0;
    for (int k = 0; k < 4; k++) sum += values[(k + threadIdx.x) % 4].w;
    out[threadIdx.x] = sum;
}

extern "C" __global__ void where(u32* out) {
    u32 block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    u32 thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    out[block * blockDim.x * blockDim.y * blockDim.z + thread] = 1000 * block + thread;
}

extern "C" __global__ void least(u64* status, u64 value) {
    atomicMin(status, value + threadIdx.x);
}
"#;

fn kernel(name: &str) -> Kernel {
    Kernel { source: SOURCE.into(), name: name.into() }
}

fn launch(name: &str, grid: [u32; 3], block: [u32; 3], arguments: Vec<Argument>) -> Command {
    Command::Launch(Launch { kernel: kernel(name), grid, block, shared_bytes: 64, arguments })
}

/// Numbers of a type as bytes and back.
pub trait Number: Copy {
    fn bytes(values: &[Self]) -> Vec<u8>;
    fn values(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            fn bytes(values: &[Self]) -> Vec<u8> {
                values.iter().flat_map(|x| x.to_ne_bytes()).collect()
            }
            fn values(bytes: &[u8]) -> Vec<Self> {
                bytes.chunks_exact(size_of::<Self>()).map(|x| Self::from_ne_bytes(x.try_into().unwrap())).collect()
            }
        }
    )*};
}
number!(f32, f64, u32, u64);

pub fn memory_of<T: Number>(device: &Device, values: &[T]) -> Memory {
    let bytes = T::bytes(values);
    let memory = device.allocate(bytes.len()).unwrap();
    unsafe { device.write(memory.address(), &bytes).unwrap() };
    memory
}

pub fn values_of<T: Number>(device: &Device, memory: &Memory) -> Vec<T> {
    let mut bytes = vec![0; memory.bytes()];
    unsafe { device.read(memory.address(), &mut bytes).unwrap() };
    T::values(&bytes)
}

fn run(device: &Device, commands: Vec<Command>) {
    let mut sequence = device.prepare(commands).unwrap();
    unsafe { device.run(&mut sequence).unwrap() };
}

pub fn memory(device: &Device) {
    assert!(!device.name().is_empty() && device.memory().unwrap().0 > 0);
    let zeros = device.allocate(1000).unwrap();
    assert!(zeros.address().is_multiple_of(256) && zeros.bytes() == 1000);
    assert!(values_of::<f32>(device, &zeros).iter().all(|&x| x == 0.0));
    // More than the ring of page-locked memory holds, at once.
    let large: Vec<u32> = (0..10_000_000).collect();
    let memory = memory_of(device, &large);
    for k in 0..1000_u32 {
        unsafe { device.write(memory.address() + u64::from(4 * k), &(k + 7).to_ne_bytes()).unwrap() };
    }
    let back: Vec<u32> = values_of(device, &memory);
    assert!(back.iter().enumerate().all(|(k, &x)| x == if k < 1000 { k as u32 + 7 } else { k as u32 }));
    let other = device.allocate(4000).unwrap();
    unsafe { device.copy(memory.address() + 8, other.address(), 4000).unwrap() };
    assert_eq!(values_of::<u32>(device, &other)[..3], [9, 10, 11]);
    let (from, to) = (memory.address(), other.address());
    run(device, vec![Command::Copy { from, to, bytes: 40 }, Command::Zero { to: to + 4, bytes: 8 }]);
    assert_eq!(values_of::<u32>(device, &other)[..5], [7, 0, 0, 10, 11]);
    assert!(matches!(device.allocate(1 << 60), Err(Error::OutOfMemory { needed, .. }) if needed == 1 << 60));
}

/// What is written may be changed at once, also where more is under way than page-locked memory holds.
pub fn uploads(device: &Device) {
    const PIECE: usize = 3 << 18;
    let memory = device.allocate(80 * 4 * PIECE).unwrap();
    let mut piece = vec![0_u32; PIECE];
    for number in 0..80_u32 {
        piece.fill(number + 1);
        let to = memory.address() + u64::from(number) * 4 * PIECE as u64;
        unsafe { device.write(to, &u32::bytes(&piece)).unwrap() };
    }
    let back: Vec<u32> = values_of(device, &memory);
    assert!(back.iter().enumerate().all(|(k, &x)| x as usize == k / PIECE + 1));
}

pub fn kernels(device: &Device) {
    let (a, b): (Vec<f32>, Vec<f32>) = (0..1000).map(|k| (k as f32, 0.5 * k as f32)).unzip();
    let (a, b, out) = (memory_of(device, &a), memory_of(device, &b), device.allocate(4000).unwrap());
    let pointer = |memory: &Memory| Argument::Pointer(memory.address());
    let arguments = vec![pointer(&a), pointer(&b), pointer(&out), Argument::U32(1000), Argument::F32(4.0)];
    run(device, vec![launch("add", [8, 1, 1], [128, 1, 1], arguments)]);
    assert!(values_of::<f32>(device, &out).iter().enumerate().all(|(k, &x)| x == 3.0 * k as f32));

    let x: Vec<f64> = (0..1280).map(f64::from).collect();
    let (x, sums) = (memory_of(device, &x), device.allocate(80).unwrap());
    run(device, vec![launch("block_sums", [10, 1, 1], [128, 1, 1], vec![pointer(&x), pointer(&sums)])]);
    let expected: Vec<f64> = (0..10).map(|b| (128 * b..128 * (b + 1)).map(f64::from).sum()).collect();
    assert_eq!(values_of::<f64>(device, &sums), expected);

    let x: Vec<f32> = (0..96).map(|k| k as f32).collect();
    let (x, sums) = (memory_of(device, &x), device.allocate(12).unwrap());
    run(device, vec![launch("warp_sums", [1, 1, 1], [96, 1, 1], vec![pointer(&x), pointer(&sums)])]);
    assert_eq!(values_of::<f32>(device, &sums), [496.0, 1520.0, 2544.0]);

    let out = device.allocate(256).unwrap();
    run(device, vec![launch("aligned", [1, 1, 1], [64, 1, 1], vec![pointer(&x), pointer(&out)])]);
    assert_eq!(values_of::<f32>(device, &out), [18.0; 64]);

    let places = device.allocate(4 * 24 * 24).unwrap();
    run(device, vec![launch("where", [2, 3, 4], [4, 3, 2], vec![pointer(&places)])]);
    for (k, place) in values_of::<u32>(device, &places).into_iter().enumerate() {
        assert_eq!(place, (1000 * (k / 24) + k % 24) as u32);
    }

    // More arguments than any kernel of this crate has.
    let parameters: Vec<String> = (0..200).map(|k| format!("u32 a{k}")).collect();
    let sum: Vec<String> = (0..200).map(|k| format!("a{k} * {}u", k + 1)).collect();
    let source = format!(
        "extern \"C\" __global__ void many(u32* out, {}) {{ *out = {}; }}",
        parameters.join(", "),
        sum.join(" + ")
    );
    let kernel = Kernel { source: source.into(), name: "many".into() };
    let arguments = std::iter::once(pointer(&places)).chain((0..200).map(Argument::U32)).collect();
    run(device, vec![Command::Launch(Launch { kernel, grid: [1; 3], block: [1; 3], shared_bytes: 0, arguments })]);
    assert_eq!(values_of::<u32>(device, &places)[0], (0..200).map(|k| k * (k + 1)).sum());

    let status = memory_of(device, &[u64::MAX]);
    let least = |value| launch("least", [1, 1, 1], [32, 1, 1], vec![pointer(&status), Argument::U64(value)]);
    run(device, vec![least(1 << 41), least(1 << 40)]);
    assert_eq!(values_of::<u64>(device, &status), [1 << 40]);
}

/// A matrix of a batch in memory, and where its elements are.
struct Stored {
    matrix: Matrix,
    values: Vec<f64>,
    memory: Memory,
}

fn stored(device: &Device, real: Real, batch: usize, shared: bool, rows: usize, columns: usize, flip: bool) -> Stored {
    let (down, across) = if flip { (columns, rows) } else { (rows, columns) };
    let leading = across + 3;
    let stride = down * leading + 5;
    let values: Vec<f64> = (0..batch * stride).map(|k| f64::from((k * 7919 % 255) as u16) / 64.0 - 2.0).collect();
    let memory = match real {
        Real::F32 => memory_of(device, &values.iter().map(|&x| x as f32).collect::<Vec<_>>()),
        Real::F64 => memory_of(device, &values),
    };
    let batch_stride = if shared { 0 } else { stride };
    Stored { matrix: Matrix { address: memory.address(), batch_stride, leading, transposed: flip }, values, memory }
}

impl Stored {
    fn place(&self, entry: usize, i: usize, j: usize) -> usize {
        let Matrix { batch_stride, leading, transposed, .. } = self.matrix;
        entry * batch_stride + if transposed { j * leading + i } else { i * leading + j }
    }

    fn at(&self, entry: usize, i: usize, j: usize) -> f64 {
        self.values[self.place(entry, i, j)]
    }
}

pub fn products(device: &Device) {
    for real in [Real::F32, Real::F64] {
        for (batch, m, n, k) in [(1, 5, 7, 9), (3, 33, 1, 70), (2, 1, 40, 3), (4, 64, 65, 17)] {
            for case in 0..32 {
                let [flip_a, flip_b, shared, accumulate, flip_c] = [0, 1, 2, 3, 4].map(|bit| case >> bit & 1 > 0);
                let a = stored(device, real, batch, shared, m, k, flip_a);
                let b = stored(device, real, batch, false, k, n, flip_b);
                let c = stored(device, real, batch, false, m, n, flip_c);
                let beta = if accumulate { 0.5 } else { 0.0 };
                let (precision, alpha) = (Precision::Full, -2.0);
                let (a_, b_, c_) = (a.matrix, b.matrix, c.matrix);
                let gemm = Gemm { real, precision, batch, m, n, k, a: a_, b: b_, c: c_, alpha, beta };
                run(device, vec![Command::Gemm(gemm)]);
                let found: Vec<f64> = match real {
                    Real::F32 => values_of::<f32>(device, &c.memory).into_iter().map(f64::from).collect(),
                    Real::F64 => values_of(device, &c.memory),
                };
                let mut expected = c.values.clone();
                for entry in 0..batch {
                    for i in 0..m {
                        for j in 0..n {
                            let sum: f64 = (0..k).map(|l| a.at(entry, i, l) * b.at(entry, l, j)).sum();
                            let place = c.place(entry, i, j);
                            expected[place] = alpha * sum + beta * c.values[place];
                        }
                    }
                }
                // All numbers are multiples of 2^-12 below 2^10: exact in double precision, and nearly so in single.
                let tolerance = if real == Real::F32 { 1e-3 } else { 0.0 };
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found - expected).abs() <= tolerance, "{real:?} {batch} {m} {n} {k} {case}");
                }
            }
        }
    }
}

/// In TF32 operands lose all but 10 bits of mantissa, otherwise none.
pub fn precisions(device: &Device) {
    let n = 256;
    // Just above 1 in single precision, 1 in TF32.
    let (a, b) = (memory_of(device, &vec![1.0 + 1.0_f32 / 8192.0; n * n]), memory_of(device, &vec![1.0_f32; n * n]));
    let c = device.allocate(4 * n * n).unwrap();
    let matrix = |memory: &Memory| Matrix { address: memory.address(), batch_stride: 0, leading: n, transposed: false };
    for (precision, expected) in [(Precision::Full, 256.0 + 1.0 / 32.0), (Precision::Tf32, 256.0)] {
        run(
            device,
            vec![Command::Gemm(Gemm {
                real: Real::F32,
                precision,
                batch: 1,
                m: n,
                n,
                k: n,
                a: matrix(&a),
                b: matrix(&b),
                c: matrix(&c),
                alpha: 1.0,
                beta: 0.0,
            })],
        );
        let found = values_of::<f32>(device, &c);
        assert!(found.iter().all(|x| (x - expected).abs() < 1e-3), "{precision:?}: {} for {expected}", found[0]);
    }
}

/// A sequence run again and again does the same each time, also when it is a graph, and sees what was written in between.
pub fn repetition(device: &Device) {
    let (a, b) = (memory_of(device, &[1.0_f32; 256]), memory_of(device, &[1.0_f32; 256]));
    let out = device.allocate(1024).unwrap();
    let square = |from: &Memory, to: &Memory| {
        let matrix =
            |memory: &Memory| Matrix { address: memory.address(), batch_stride: 0, leading: 16, transposed: false };
        Command::Gemm(Gemm {
            real: Real::F32,
            precision: Precision::Full,
            batch: 1,
            m: 16,
            n: 16,
            k: 16,
            a: matrix(from),
            b: matrix(from),
            c: matrix(to),
            alpha: 0.0625,
            beta: 0.0,
        })
    };
    let pointer = |memory: &Memory| Argument::Pointer(memory.address());
    let arguments = |to: &Memory| vec![pointer(&a), pointer(to), pointer(to), Argument::U32(256), Argument::F32(1.0)];
    let commands = vec![
        launch("add", [2, 1, 1], [128, 1, 1], arguments(&b)),
        square(&b, &out),
        Command::Copy { from: out.address(), to: b.address(), bytes: 512 },
        launch("add", [2, 1, 1], [128, 1, 1], arguments(&out)),
    ];
    let mut sequence = device.prepare(commands).unwrap();
    let mut traces = Vec::new();
    for _ in 0..2 {
        unsafe { device.write(b.address(), &f32::bytes(&[1.0; 256])).unwrap() };
        let mut trace = Vec::new();
        for step in 0..5 {
            unsafe {
                device.write(a.address(), &f32::bytes(&[step as f32; 256])).unwrap();
                device.run(&mut sequence).unwrap();
            }
            trace.push(values_of::<f32>(device, &out).iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        }
        traces.push(trace);
    }
    device.synchronize().unwrap();
    assert!(sequence.is_graph() || device.name() == "emulated", "{:?}", sequence.refusal());
    assert_eq!(traces[0], traces[1]);
    assert_eq!(traces[0][0], [1.0_f32.to_bits(); 256]);
    let seconds = unsafe { device.profile(&mut sequence).unwrap() };
    assert!(seconds.len() == 4 && seconds.iter().all(|s| (0.0..1.0).contains(s)));
}

/// Tasks see what those that they wait for have done, and no run of them touches what belongs to the next.
pub fn tasks(device: &Device) {
    const COUNT: usize = 24;
    const LENGTH: u32 = 1000;
    let mut state = 3_u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let after: Vec<Vec<usize>> = (0..COUNT)
        .map(|number| {
            // Some wait for nothing.
            let count = if number % 4 == 0 { 0 } else { 2 };
            let mut after: Vec<usize> = (0..count).map(|_| below(number)).collect();
            after.sort_unstable();
            after.dedup();
            after
        })
        .collect();
    let bytes = 4 * LENGTH as usize;
    let base = device.allocate(bytes).unwrap();
    let places: Vec<Memory> = (0..COUNT).map(|_| device.allocate(bytes).unwrap()).collect();
    // Each task adds up the base and what the tasks before it hold.
    let task = |number: usize| {
        let own = places[number].address();
        let mut commands = vec![Command::Copy { from: base.address(), to: own, bytes }];
        for &other in &after[number] {
            let [own, other] = [own, places[other].address()].map(Argument::Pointer);
            let arguments = vec![own, other, own, Argument::U32(LENGTH), Argument::F32(1.0)];
            commands.push(launch("add", [8, 1, 1], [128, 1, 1], arguments));
        }
        Task { commands, after: after[number].clone() }
    };
    let mut sequence = device.prepare_tasks((0..COUNT).map(task).collect()).unwrap();
    let mut times = [0.0_f32; COUNT];
    for number in 0..COUNT {
        times[number] = 1.0 + after[number].iter().map(|&other| times[other]).sum::<f32>();
    }
    for round in 1..=6_u8 {
        let start = f32::from(round);
        unsafe {
            device.write(base.address(), &f32::bytes(&[start; LENGTH as usize])).unwrap();
            device.run(&mut sequence).unwrap();
            // The next run begins with another base at once.
            if round % 3 == 1 {
                continue;
            }
        }
        for (place, times) in places.iter().zip(times) {
            assert_eq!(values_of::<f32>(device, place), [start * times; LENGTH as usize], "round {round}");
        }
    }
    assert!(sequence.is_graph() || device.name() == "emulated", "{:?}", sequence.refusal());
}

/// What is timed runs once, whether it ran before or not.
pub fn profiles(device: &Device) {
    let (one, total) = (memory_of(device, &[1.0_f32; 1000]), device.allocate(4000).unwrap());
    let [one_, total_] = [&one, &total].map(|memory| Argument::Pointer(memory.address()));
    let arguments = vec![one_, total_, total_, Argument::U32(1000), Argument::F32(1.0)];
    let commands = vec![launch("add", [8, 1, 1], [128, 1, 1], arguments); 5];
    let mut sequence = device.prepare(commands).unwrap();
    for round in 1..=6_u8 {
        if round == 3 {
            unsafe { device.run(&mut sequence).unwrap() };
        } else {
            let seconds = unsafe { device.profile(&mut sequence).unwrap() };
            assert!(seconds.len() == 5 && seconds.iter().all(|&s| (0.0..1.0).contains(&s)), "{seconds:?}");
        }
        assert_eq!(values_of::<f32>(device, &total), [5.0 * f32::from(round); 1000]);
    }
}

/// Several threads on one device: each sees its own work done in order.
pub fn threads(device: &Device) {
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            scope.spawn(move || {
                let (one, total) = (memory_of(device, &[1.0_f32; 1000]), device.allocate(4000).unwrap());
                let [one_, total_] = [&one, &total].map(|memory| Argument::Pointer(memory.address()));
                let arguments = vec![one_, total_, total_, Argument::U32(1000), Argument::F32(1.0)];
                let commands = vec![launch("add", [8, 1, 1], [128, 1, 1], arguments); 4];
                let mut sequence = device.prepare(commands).unwrap();
                for round in 0..20_u8 {
                    let start = f32::from(thread) + f32::from(round);
                    unsafe {
                        device.write(total.address(), &f32::bytes(&[start; 1000])).unwrap();
                        device.run(&mut sequence).unwrap();
                    }
                    assert_eq!(values_of::<f32>(device, &total), [start + 4.0; 1000]);
                }
            });
        }
    });
}

pub fn errors(device: &Device) {
    let wrong = Kernel { source: "extern \"C\" __global__ void f() { nonsense; }".into(), name: "f".into() };
    let command = |kernel| Launch { kernel, grid: [1; 3], block: [1; 3], shared_bytes: 0, arguments: Vec::new() };
    let error = device.prepare(vec![Command::Launch(command(wrong))]).unwrap_err();
    assert!(matches!(&error, Error::Compile(text) if text.contains("nonsense")), "{error}");
    let error = device.prepare(vec![Command::Launch(command(kernel("missing")))]).unwrap_err();
    assert!(matches!(&error, Error::Compile(text) if text.contains("missing")), "{error}");

    let refused = |command: Command| {
        let error = device.prepare(vec![command]).unwrap_err();
        assert!(matches!(error, Error::Driver(_)), "{error}");
    };
    let pointer = Argument::Pointer(0);
    refused(launch("where", [1, 1, 1], [1025, 1, 1], vec![pointer]));
    refused(launch("where", [1, 65_536, 1], [1, 1, 1], vec![pointer]));
    refused(launch("where", [0, 1, 1], [1, 1, 1], vec![pointer]));
    refused(launch("where", [1, 1, 1], [1, 1, 1], vec![Argument::U32(1)]));
    refused(launch("where", [1, 1, 1], [1, 1, 1], Vec::new()));
    refused(launch("where", [1, 1, 1], [1, 1, 1], vec![pointer, pointer]));
    let mut greedy = Launch { arguments: vec![pointer], ..command(kernel("where")) };
    greedy.shared_bytes = 1 << 20;
    refused(Command::Launch(greedy));

    let matrix = Matrix { address: 0, batch_stride: 0, leading: 8, transposed: false };
    let (real, precision, alpha, beta) = (Real::F32, Precision::Full, 1.0, 0.0);
    let gemm = Gemm { real, precision, batch: 1, m: 8, n: 8, k: 8, a: matrix, b: matrix, c: matrix, alpha, beta };
    refused(Command::Gemm(Gemm { k: 9, ..gemm }));
    refused(Command::Gemm(Gemm { batch: 2, ..gemm }));
    refused(Command::Gemm(Gemm { c: Matrix { leading: 7, ..matrix }, ..gemm }));
}

/// What no card notices.
#[cfg(feature = "emulated")]
pub fn slips(device: &Device) {
    // Half of a warp at a shuffle, a barrier that not all reach, and more shared memory than was asked for.
    let source = r#"
extern "C" __global__ void half_warp() { if (threadIdx.x < 16) __shfl_xor_sync(0xffffffffu, 1.0f, 1); }
extern "C" __global__ void some_warps() { if (threadIdx.x < 32) __syncthreads(); }
extern "C" __global__ void beyond() {
    extern __shared__ unsigned char shared_memory[];
    shared_memory[threadIdx.x] = 0;
}
"#;
    for name in ["half_warp", "some_warps", "beyond"] {
        let kernel = Kernel { source: source.into(), name: name.into() };
        let launch = Launch { kernel, grid: [2, 1, 1], block: [64, 1, 1], shared_bytes: 48, arguments: Vec::new() };
        let mut sequence = device.prepare(vec![Command::Launch(launch)]).unwrap();
        assert!(matches!(unsafe { device.run(&mut sequence) }, Err(Error::Driver(_))), "{name}");
    }
}
