//! Tiles: which part of a product a block of threads computes, and how long that takes.

use crate::Real;

/// Multiprocessors that grids are laid out for. Results depend on it, so it is the same on every card.
pub(super) const PROCESSORS: usize = 132;
/// Shared memory that the slices of a block may take, in bytes.
const SHARED_BYTES: usize = 62 << 10;

/// How the threads of a block divide its tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Division {
    /// Rows and columns of a thread.
    Threads(usize, usize),
    /// Rows and columns of a warp, on tensor cores.
    Warps(usize, usize),
}

/// A tile of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Rows.
    pub(super) m: usize,
    /// Columns.
    pub(super) n: usize,
    /// Threads of a block.
    pub(super) threads: usize,
    /// How they divide the tile.
    pub(super) division: Division,
}

/// A tile whose threads have so many rows and columns each.
const fn threads(m: usize, n: usize, own: (usize, usize), threads: usize) -> Tile {
    Tile { m, n, threads, division: Division::Threads(own.0, own.1) }
}

/// A tile of warps that have so many rows and columns each.
const fn warps(m: usize, n: usize, own: (usize, usize)) -> Tile {
    Tile { m, n, threads: m * n / (own.0 * own.1) * 32, division: Division::Warps(own.0, own.1) }
}

/// Tiles for one kind of product.
pub(super) struct Tiles {
    threads: &'static [Tile],
    warps: &'static [Tile],
}

/// Of rows by pixels. Few rows go with many pixels, as pixels are never few.
pub(super) const BY_PIXELS: Tiles = Tiles {
    threads: &[
        threads(128, 128, (8, 8), 256),
        threads(64, 256, (8, 8), 256),
        threads(64, 128, (8, 4), 256),
        threads(64, 64, (4, 4), 256),
        threads(32, 256, (4, 8), 256),
        threads(32, 128, (4, 4), 256),
        threads(16, 256, (4, 4), 256),
        threads(8, 256, (4, 4), 128),
    ],
    warps: &[
        warps(128, 128, (64, 64)),
        warps(64, 256, (64, 64)),
        warps(64, 128, (32, 64)),
        warps(32, 256, (32, 64)),
        warps(32, 128, (32, 32)),
        warps(16, 256, (16, 64)),
    ],
};

/// Of rows by taps: of small ones several teams of threads share the depth.
pub(super) const BY_TAPS: Tiles = Tiles {
    threads: &[
        threads(128, 128, (8, 8), 256),
        threads(64, 192, (4, 12), 256),
        threads(64, 128, (8, 4), 256),
        threads(64, 64, (4, 4), 256),
        threads(64, 32, (4, 4), 256),
        threads(32, 64, (4, 4), 256),
        threads(32, 32, (4, 4), 256),
        threads(16, 128, (4, 4), 256),
        threads(16, 64, (4, 4), 256),
        threads(8, 64, (4, 4), 256),
    ],
    warps: &[
        warps(128, 128, (64, 64)),
        warps(64, 192, (32, 96)),
        warps(64, 128, (32, 64)),
        warps(64, 64, (32, 32)),
        warps(32, 64, (16, 32)),
        warps(16, 128, (16, 32)),
    ],
};

impl Tiles {
    /// Those for an element type, `tensor`: on tensor cores. In double precision a thread has registers for 4 by 4 sums.
    pub(super) fn of(&self, real: Real, tensor: bool) -> Vec<Tile> {
        if tensor {
            return self.warps.to_vec();
        }
        let fits = |tile: &&Tile| real == Real::F32 || tile.division == Division::Threads(4, 4);
        self.threads.iter().filter(fits).copied().collect()
    }
}

impl Tile {
    /// Whether it is computed on tensor cores.
    pub(super) fn tensor(&self) -> bool {
        matches!(self.division, Division::Warps(..))
    }

    /// Teams of threads that share the depth of a slice.
    pub(super) fn teams(&self) -> usize {
        match self.division {
            Division::Threads(m, n) => self.threads * m * n / (self.m * self.n),
            Division::Warps(..) => 1,
        }
    }

    /// Neighbours in a row that a thread writes at once.
    pub(super) fn run(&self, real: Real) -> usize {
        if self.tensor() { 2 } else { 16 / real.size() }
    }

    /// What the kernels' common text takes from the tile.
    pub(super) fn definitions(&self) -> String {
        let (kind, m, n) = match self.division {
            Division::Threads(m, n) => ("THREAD", m, n),
            Division::Warps(m, n) => ("WARP", m, n),
        };
        // As many as leave a thread the registers that its sums and their operands take.
        let blocks = match (self.threads, self.division) {
            (128, Division::Threads(..)) => 4,
            (128, Division::Warps(m, n)) if m * n <= 32 * 32 => 4,
            (128, Division::Warps(m, n)) if m * n <= 32 * 64 => 3,
            _ => 2,
        };
        format!(
            "#define TENSOR {}\n#define TILE_M {}\n#define TILE_N {}\n#define {kind}_M {m}\n#define {kind}_N {n}\n#define THREADS {}\n#define BLOCKS {blocks}\n",
            u32::from(self.tensor()),
            self.m,
            self.n,
            self.threads,
        )
    }

    /// Cycles of a multiprocessor that a block takes for each depth, with `gather` instructions for each element that it gathers. A multiprocessor
    /// issues four instructions of 32 lanes in a cycle.
    ///
    /// For each depth a thread multiplies each of its rows by each of its columns and reads both, four in an instruction (a bit more than one cycle
    /// each, as lanes read the same). Tensor cores take 600 products in a cycle, while warps read 32 numbers.
    pub(super) fn cycles(&self, gathered: usize, gather: f64) -> f64 {
        let gathered = gathered as f64 * gather / 128.0;
        match self.division {
            Division::Threads(m, n) => {
                let thread = (m * n) as f64 + 0.4 * (m + n) as f64 + 1.5;
                (self.threads / self.teams()) as f64 * thread / 128.0 + gathered
            }
            Division::Warps(m, n) => {
                let products = (self.m * self.n) as f64 / 600.0;
                let reads = (self.threads / 32 * (m + n)) as f64 / 32.0;
                products.max(reads) + gathered
            }
        }
    }

    /// Cycles that so many blocks take, each as many as given: multiprocessors work on two at a time, and are less busy with a single one.
    pub(super) fn waves(blocks: usize, cycles: f64) -> f64 {
        let waves = blocks.div_ceil(PROCESSORS) as f64;
        if waves > 1.0 { waves * cycles } else { 1.25 * cycles }
    }
}

/// Slices of so many bytes that shared memory has room for: three, or two.
pub(super) fn stages(bytes: usize) -> usize {
    if 3 * bytes <= SHARED_BYTES { 3 } else { 2 }
}
