//! What the plots are drawn on: plotters' SVG and bitmap backends behind one small interface.
//!
//! Coordinates are those of the finished picture, in pixels from the upper left corner. plotters rounds to whole
//! pixels, so both backends work on a finer grid: the SVG through its view box, the bitmap by averaging blocks of
//! pixels, which also smooths its edges. The bitmap is drawn strip by strip, to hold only a strip at that grid.

use std::cell::RefCell;
use std::path::Path;
use std::sync::OnceLock;

use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color, FontFamily, FontStyle, FontTransform, IntoFont, RGBAColor, RGBColor, TextStyle, WHITE, register_font,
};

use crate::atomic::{with_appended_extension, write_atomic};
use crate::{Error, Result};

/// Width of every picture, in pixels.
pub const PICTURE_WIDTH: u32 = 1200;
/// Height of every picture, in pixels.
pub const PICTURE_HEIGHT: u32 = 750;

/// Fine pixels to a picture's pixel in the bitmap.
const BITMAP_REFINEMENT: u32 = 4;
/// Height of a strip of the bitmap, in picture's pixels; divides [`PICTURE_HEIGHT`].
const STRIP_HEIGHT: u32 = 50;
/// Fine units to a picture's pixel in the SVG.
const SVG_REFINEMENT: u32 = 8;

/// Families tried in turn by whoever shows an SVG; the bitmap uses the bundled Ubuntu Light under this name.
const FONT_FAMILY: &str = "Ubuntu, Helvetica, Arial, DejaVu Sans, sans-serif";

/// A point, in pixels of the finished picture.
pub(super) type Point = (f64, f64);
/// Result of drawing something; plotters' errors differ in type between backends, hence the text.
pub(super) type Drawn = std::result::Result<(), String>;

/// How a line looks.
#[derive(Clone, Copy)]
pub(super) struct Stroke {
    pub colour: RGBAColor,
    /// In pixels.
    pub width: f64,
    /// Lengths of dash and gap, in pixels.
    pub dash: Option<(f64, f64)>,
}

impl Stroke {
    pub(super) fn solid(colour: RGBColor, width: f64) -> Self {
        Self { colour: colour.to_rgba(), width, dash: None }
    }

    pub(super) fn dashed(colour: RGBColor, width: f64, dash: f64, gap: f64) -> Self {
        Self { colour: colour.to_rgba(), width, dash: Some((dash, gap)) }
    }
}

/// How and where a text stands relative to its point.
#[derive(Clone, Copy)]
pub(super) struct Lettering {
    /// Height of a line, in pixels.
    pub size: f64,
    pub colour: RGBColor,
    pub anchor: (HPos, VPos),
    /// Read from bottom to top.
    pub upright: bool,
}

/// Something to draw on.
pub(super) trait Surface {
    fn line(&self, points: &[Point], stroke: Stroke) -> Drawn;
    fn area(&self, outline: &[Point], colour: RGBColor) -> Drawn;
    fn disc(&self, centre: Point, radius: f64, colour: RGBColor) -> Drawn;
    fn text(&self, text: &str, at: Point, lettering: Lettering) -> Drawn;
    /// Width of a text in the bundled font, in pixels.
    fn text_width(&self, text: &str, size: f64) -> f64;
}

/// Draws a picture and writes it as `stem.svg` and `stem.png`, each atomically.
pub(super) fn save_picture(stem: &Path, draw: impl Fn(&dyn Surface) -> Drawn) -> Result<()> {
    let svg = with_appended_extension(stem, "svg");
    let png = with_appended_extension(stem, "png");
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |problem: String| Error::File { path, place: "drawing".into(), problem }
    };
    register_fonts().map_err(failed(&svg))?;
    write_atomic(&svg, draw_svg(&draw).map_err(failed(&svg))?)?;
    write_atomic(&png, draw_png(&draw).map_err(failed(&png))?)
}

/// Makes the bundled font known to plotters, once.
fn register_fonts() -> Drawn {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered = REGISTERED
        .get_or_init(|| register_font(FONT_FAMILY, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).is_ok());
    if *registered { Ok(()) } else { Err("the bundled font cannot be read".into()) }
}

fn draw_svg(draw: &dyn Fn(&dyn Surface) -> Drawn) -> std::result::Result<String, String> {
    let mut text = String::new();
    let (width, height) = (PICTURE_WIDTH * SVG_REFINEMENT, PICTURE_HEIGHT * SVG_REFINEMENT);
    Refined {
        backend: RefCell::new(SVGBackend::with_string(&mut text, (width, height))),
        refinement: f64::from(SVG_REFINEMENT),
        rows: (0.0, f64::from(PICTURE_HEIGHT)),
        bitmap: false,
    }
    .draw_on_white(draw)?;
    // The view box stays fine, the size is the picture's.
    let fine = format!("width=\"{width}\" height=\"{height}\"");
    let size = format!("width=\"{PICTURE_WIDTH}\" height=\"{PICTURE_HEIGHT}\"");
    Ok(text.replacen(&fine, &size, 1))
}

fn draw_png(draw: &dyn Fn(&dyn Surface) -> Drawn) -> std::result::Result<Vec<u8>, String> {
    let size = (PICTURE_WIDTH * BITMAP_REFINEMENT, STRIP_HEIGHT * BITMAP_REFINEMENT);
    let mut fine = vec![0; 3 * size.0 as usize * size.1 as usize];
    let mut pixels = Vec::with_capacity(3 * PICTURE_WIDTH as usize * PICTURE_HEIGHT as usize);
    for top in (0..PICTURE_HEIGHT).step_by(STRIP_HEIGHT as usize) {
        Refined {
            backend: RefCell::new(BitMapBackend::with_buffer(&mut fine, size)),
            refinement: f64::from(BITMAP_REFINEMENT),
            rows: (f64::from(top), f64::from(top + STRIP_HEIGHT)),
            bitmap: true,
        }
        .draw_on_white(draw)?;
        pixels.extend(block_means(&fine, size.0 as usize, BITMAP_REFINEMENT as usize));
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, PICTURE_WIDTH, PICTURE_HEIGHT);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Best);
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    writer.write_image_data(&pixels).map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Means of the `block` x `block` blocks of an RGB picture `width` pixels wide.
fn block_means(pixels: &[u8], width: usize, block: usize) -> Vec<u8> {
    let rows = pixels.len() / (3 * width * block);
    let columns = width / block;
    let mut means = Vec::with_capacity(3 * rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            for channel in 0..3 {
                let mut sum = 0_usize;
                for y in row * block..(row + 1) * block {
                    for x in column * block..(column + 1) * block {
                        sum += usize::from(pixels[3 * (y * width + x) + channel]);
                    }
                }
                means.push(((sum + block * block / 2) / (block * block)) as u8);
            }
        }
    }
    means
}

/// A plotters backend with `refinement` units to a picture's pixel.
struct Refined<DB: DrawingBackend> {
    backend: RefCell<DB>,
    refinement: f64,
    /// First row of the picture on this backend and the row after the last.
    rows: (f64, f64),
    /// Whether the backend is the bitmap's, which has ways of its own:
    /// - It draws a thick line by filling its outline, which goes wrong where a noisy curve's outline crosses
    ///   itself; so every segment is drawn alone, with discs as joints.
    /// - It sets letters too high, and the light font looks faint at small sizes.
    bitmap: bool,
}

impl<DB: DrawingBackend> Refined<DB> {
    fn draw_on_white(self, draw: &dyn Fn(&dyn Surface) -> Drawn) -> Drawn {
        {
            let mut backend = self.backend.borrow_mut();
            let (width, height) = backend.get_size();
            let corner = (width as i32, height as i32);
            backend.draw_rect((0, 0), corner, &WHITE.filled(), true).map_err(|error| error.to_string())?;
        }
        draw(&self)?;
        self.backend.borrow_mut().present().map_err(|error| error.to_string())
    }

    fn fine(&self, (x, y): Point) -> (i32, i32) {
        ((x * self.refinement).round() as i32, ((y - self.rows.0) * self.refinement).round() as i32)
    }

    /// Whether anything between these rows of the picture can show on this backend.
    fn shows(&self, from: f64, to: f64) -> bool {
        to >= self.rows.0 && from <= self.rows.1
    }

    fn style(&self, size: f64) -> TextStyle<'static> {
        TextStyle::from((FontFamily::Name(FONT_FAMILY), size * self.refinement).into_font())
    }

    fn path(&self, points: &[(i32, i32)], colour: RGBAColor, width: u32) -> Drawn {
        let path = points.iter().copied();
        let drawn = self.backend.borrow_mut().draw_path(path, &colour.stroke_width(width));
        drawn.map_err(|error| error.to_string())
    }

    fn circle(&self, centre: (i32, i32), radius: u32, colour: RGBAColor) -> Drawn {
        let drawn = self.backend.borrow_mut().draw_circle(centre, radius, &colour.filled(), true);
        drawn.map_err(|error| error.to_string())
    }

    fn solid_line(&self, points: &[Point], stroke: Stroke) -> Drawn {
        let width = (stroke.width * self.refinement).round().max(1.0) as u32;
        if !self.bitmap {
            let mut fine: Vec<(i32, i32)> = points.iter().map(|&point| self.fine(point)).collect();
            fine.dedup();
            return if fine.len() < 2 { Ok(()) } else { self.path(&fine, stroke.colour, width) };
        }
        for (index, pair) in points.windows(2).enumerate() {
            let (low, high) = (pair[0].1.min(pair[1].1), pair[0].1.max(pair[1].1));
            let (from, to) = (self.fine(pair[0]), self.fine(pair[1]));
            if from == to || !self.shows(low - stroke.width, high + stroke.width) {
                continue;
            }
            self.path(&[from, to], stroke.colour, width)?;
            if index > 0 && width > 2 {
                self.circle(from, width / 2, stroke.colour)?;
            }
        }
        Ok(())
    }
}

impl<DB: DrawingBackend> Surface for Refined<DB> {
    fn line(&self, points: &[Point], stroke: Stroke) -> Drawn {
        match stroke.dash {
            None => self.solid_line(points, stroke),
            Some((dash, gap)) => dashes(points, dash, gap).iter().try_for_each(|piece| self.solid_line(piece, stroke)),
        }
    }

    fn area(&self, outline: &[Point], colour: RGBColor) -> Drawn {
        let fine: Vec<(i32, i32)> = outline.iter().map(|&point| self.fine(point)).collect();
        let drawn = self.backend.borrow_mut().fill_polygon(fine, &colour.filled());
        drawn.map_err(|error| error.to_string())
    }

    fn disc(&self, centre: Point, radius: f64, colour: RGBColor) -> Drawn {
        if !self.shows(centre.1 - radius - 1.0, centre.1 + radius + 1.0) {
            return Ok(());
        }
        let fine_radius = (radius * self.refinement).round().max(1.0) as u32;
        self.circle(self.fine(centre), fine_radius, colour.to_rgba())
    }

    fn text(&self, text: &str, at: Point, lettering: Lettering) -> Drawn {
        let reach = if lettering.upright { self.text_width(text, lettering.size) } else { lettering.size };
        if !self.shows(at.1 - 2.0 * reach, at.1 + 2.0 * reach) {
            return Ok(());
        }
        let (horizontal, vertical) = lettering.anchor;
        let mut style = self.style(lettering.size).color(&lettering.colour).pos(Pos::new(horizontal, vertical));
        if lettering.upright {
            style = style.transform(FontTransform::Rotate270);
        }
        // In the bitmap: down by what plotters sets the font too high, and twice half a pixel apart for weight.
        let (sink, offsets): (f64, &[f64]) =
            if self.bitmap { (0.18 * lettering.size, &[-0.25, 0.25]) } else { (0.0, &[0.0]) };
        for offset in offsets {
            let at = match lettering.upright {
                true => (at.0 + sink, at.1 + offset),
                false => (at.0 + offset, at.1 + sink),
            };
            let drawn = self.backend.borrow_mut().draw_text(text, &style, self.fine(at));
            drawn.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn text_width(&self, text: &str, size: f64) -> f64 {
        let width = self.style(size).font.box_size(text).map_or(0, |(width, _)| width);
        f64::from(width) / self.refinement
    }
}

/// Cuts a line into dashes of equal length along its way.
fn dashes(points: &[Point], dash: f64, gap: f64) -> Vec<Vec<Point>> {
    let mut pieces = Vec::new();
    let mut piece: Vec<Point> = points.first().copied().into_iter().collect();
    let (mut drawing, mut left) = (true, dash);
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        loop {
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            if length < left {
                left -= length;
                if drawing {
                    piece.push(to);
                }
                break;
            }
            let part = left / length;
            from = (from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1));
            if drawing {
                piece.push(from);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![from];
            }
            drawing = !drawing;
            left = if drawing { dash } else { gap };
        }
    }
    if drawing && piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_of_a_straight_line_have_the_lengths_asked_for() {
        let pieces = dashes(&[(0.0, 0.0), (4.0, 0.0), (11.0, 0.0)], 3.0, 2.0);
        let ends: Vec<(f64, f64)> = pieces.iter().map(|piece| (piece[0].0, piece[piece.len() - 1].0)).collect();
        assert_eq!(ends, [(0.0, 3.0), (5.0, 8.0), (10.0, 11.0)]);
    }

    #[test]
    fn block_means_average_each_channel_of_each_block() {
        // One row of two 2 x 2 blocks; red counts up, green is constant, blue is one spot.
        let mut pixels = Vec::new();
        for index in 0..8_u8 {
            pixels.extend([index, 9, if index == 7 { 200 } else { 0 }]);
        }
        assert_eq!(block_means(&pixels, 4, 2), [3, 9, 0, 5, 9, 50]);
    }
}
