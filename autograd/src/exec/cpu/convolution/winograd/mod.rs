//! Convolutions with 3 x 3 filters by 16 products for four results where plain sums take 36: Winograd's minimal algorithm F(2 x 2, 3 x 3) (Lavin and
//! Gray, "Fast Algorithms for Convolutional Neural Networks", 2016, section 4.1).
//!
//! Four neighbouring results y of one channel look at 4 x 4 elements d of each channel of the images, through filters g: y = A^T [sum (G g G^T) o
//! (B^T d B)] A, with the sum over channels and o element by element. So each of the 16 places of a transformed tile is a matrix product of its own,
//! (results' channels, images' channels) by (images' channels, tiles): [`correlate`]. As y is bilinear, the transpose in the filters is G^T [sum (A y
//! A^T) o (B^T d B)] G, with the sum over tiles: [`filter`]. Results differ from plain sums by rounding alone, by a few units in the last place
//! of the largest product, and an element that is not finite reaches all four results of the tiles that look at it, whether they meet it or not.

pub(super) mod correlate;
pub(super) mod filter;
mod transform;

use super::Geometry;
use super::planes::Planes;
use super::tile::WIDTH;
use std::ops::Range;

/// Rows and columns of results in a tile, and of what it looks at.
const OUT: usize = 2;
const IN: usize = 4;
/// Places of a transformed tile.
const PLACES: usize = IN * IN;
/// Rows and columns of the filters.
const FILTER: usize = 3;
/// Channels on either side at least: with fewer, transforms take longer than products save.
const CHANNELS: usize = 16;

/// Whether the algorithm is for filters of this shape (groups, outputs, channels, rows, columns), and better than plain sums.
pub(super) fn suits(filters: [usize; 5], geometry: Geometry) -> bool {
    let [_, outputs, channels, h, w] = filters;
    [h, w] == [FILTER; 2]
        && geometry.stride == [1, 1]
        && geometry.padding.into_iter().all(|padding| padding < FILTER)
        && outputs.min(channels) >= CHANNELS
}

/// Tiles of images, in chunks that are worked on together.
#[derive(Clone, Copy, Debug)]
struct Tiling {
    images: usize,
    /// Rows and columns of tiles in an image.
    rows: usize,
    columns: usize,
    /// Images, and rows of tiles in each of them, of a chunk.
    chunk: [usize; 2],
    lanes: usize,
}

/// Some rows of tiles in some images.
#[derive(Clone, Debug)]
struct Chunk {
    images: Range<usize>,
    rows: Range<usize>,
}

impl Tiling {
    /// Tiles for results of this size (rows, columns), about `tiles` in a chunk: whole images or, of large ones, some rows of a single one.
    fn new(images: usize, results: [usize; 2], tiles: usize, lanes: usize) -> Self {
        let [rows, columns] = results.map(|size| size.div_ceil(OUT));
        let chunk = match tiles / (rows * columns) {
            0 => [1, (tiles / columns).clamp(1, rows)],
            whole => [whole.min(images), rows],
        };
        Self { images, rows, columns, chunk, lanes }
    }

    fn chunks(&self) -> usize {
        self.images.div_ceil(self.chunk[0]) * self.rows.div_ceil(self.chunk[1])
    }

    fn chunk(&self, number: usize) -> Chunk {
        let parts = self.rows.div_ceil(self.chunk[1]);
        let (image, row) = (number / parts * self.chunk[0], number % parts * self.chunk[1]);
        let images = image..(image + self.chunk[0]).min(self.images);
        Chunk { images, rows: row..(row + self.chunk[1]).min(self.rows) }
    }

    /// Tiles of a chunk.
    fn tiles(&self, chunk: &Chunk) -> usize {
        chunk.images.len() * chunk.rows.len() * self.columns
    }

    /// Where transformed tiles of so many channels lie.
    fn layout(&self, channels: usize) -> Layout {
        let unit = WIDTH * self.lanes;
        // The last register of a row of tiles may reach beyond it. An odd number of units keeps neighbouring channels apart in caches, which have
        // few places for what is a power of two apart.
        let tiles =
            self.chunk[0] * self.chunk[1] * self.columns + self.columns.next_multiple_of(self.lanes) - self.columns;
        let channel = (tiles.div_ceil(unit) | 1) * unit;
        Layout { channel, place: channels * channel + unit }
    }

    /// Copies of the rows that a chunk's tiles look at, `reach` rows and columns each, with this margin before the first.
    fn planes(&self, source: [usize; 2], margin: [usize; 2], reach: usize) -> Planes {
        let size = [self.rows, self.columns].map(|tiles| (tiles - 1) * OUT + reach);
        Planes::new(source, margin, size, OUT)
    }

    /// Elements of the copies of one channel of one image, with room for registers that begin at the last one.
    fn copies(&self, planes: &Planes, reach: usize) -> usize {
        ((self.chunk[1] - 1) * OUT + reach) * planes.row() + 2 * self.lanes
    }
}

/// Sixteen matrices (channels, tiles) in memory.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Elements from one channel to the next.
    channel: usize,
    /// Elements from one place of the tiles to the next.
    place: usize,
}

impl Layout {
    fn elements(&self) -> usize {
        PLACES * self.place
    }
}

/// The distance from one element of a filter to the next, of which the last is first where filters are turned round.
#[derive(Clone, Copy, Debug)]
struct Taps {
    first: usize,
    row: isize,
    column: isize,
}

impl Taps {
    fn new([row, column]: [usize; 2], turned: bool) -> Self {
        let (last, row, column) = ((FILTER - 1) * (row + column), row as isize, column as isize);
        if turned { Self { first: last, row: -row, column: -column } } else { Self { first: 0, row, column } }
    }
}
