//! A panel: a pair of axes with title and legend above, and the marks inside, clipped to it.
//!
//! The legend stands above the axes, in as many rows as it needs, so it never hides data.

use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, RGBColor};

use super::axis::Axis;
use super::surface::{Drawn, Lettering, Point, Stroke, Surface};

/// Colours of Okabe and Ito (2008).
pub(super) mod palette {
    use plotters::style::RGBColor;
    pub const BLUE: RGBColor = RGBColor(0, 114, 178);
    pub const VERMILLION: RGBColor = RGBColor(213, 94, 0);
    pub const GREEN: RGBColor = RGBColor(0, 158, 115);
    pub const ORANGE: RGBColor = RGBColor(230, 159, 0);
    pub const PURPLE: RGBColor = RGBColor(204, 121, 167);
    pub const SKY: RGBColor = RGBColor(86, 180, 233);
    /// Text and axes.
    pub const INK: RGBColor = RGBColor(25, 25, 25);
    /// Secondary lines.
    pub const GREY: RGBColor = RGBColor(120, 120, 120);

    /// `colour` mixed with white: 1 is the colour itself, 0 white. Opaque, so that overlaps stay even.
    pub fn tint(RGBColor(red, green, blue): RGBColor, strength: f64) -> RGBColor {
        let mix = |channel: u8| (255.0 - strength * (255.0 - f64::from(channel))).round() as u8;
        RGBColor(mix(red), mix(green), mix(blue))
    }
}

const TICK_TEXT: f64 = 19.0;
const LABEL_TEXT: f64 = 21.0;
const LEGEND_TEXT: f64 = 19.0;
const TITLE_TEXT: f64 = 24.0;
/// Viewers of an SVG may use a wider font than the bundled one.
const TEXT_WIDTH_RESERVE: f64 = 1.12;
/// Room kept for tick labels, so that panels above one another mostly line up.
const NARROWEST_TICK_LABEL: f64 = 48.0;
const LEGEND_KEY_WIDTH: f64 = 34.0;
const LEGEND_ROW_HEIGHT: f64 = 26.0;

/// A rectangle, in pixels of the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rectangle {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

/// The sign of a legend's entry.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Line(Stroke),
    Area(RGBColor),
    Disc(RGBColor),
}

/// Title and legend of a panel.
#[derive(Default)]
pub(super) struct Heading {
    pub title: String,
    pub legend: Vec<(Key, String)>,
}

/// A pair of axes on a surface.
pub(super) struct Panel<'a> {
    surface: &'a dyn Surface,
    frame: Rectangle,
    x: Axis,
    y: Axis,
    y_ticks: Vec<(f64, String)>,
}

impl<'a> Panel<'a> {
    /// Draws title, legend and axis labels into `place` and gives the rest to the axes.
    pub(super) fn new(
        surface: &'a dyn Surface,
        place: Rectangle,
        heading: &Heading,
        x: Axis,
        y: Axis,
    ) -> Result<Self, String> {
        let height = place.bottom - place.top;
        let y_ticks = y.ticks(tick_count(0.8 * height, 50.0));
        let widest =
            y_ticks.iter().map(|(_, label)| surface.text_width(label, TICK_TEXT)).fold(NARROWEST_TICK_LABEL, f64::max);
        let label_room = if y.label.is_empty() { 0.0 } else { LABEL_TEXT + 12.0 };
        let left = place.left + label_room + widest * TEXT_WIDTH_RESERVE + 14.0;
        let mut top = place.top;
        if !heading.title.is_empty() {
            let lettering = lettering(TITLE_TEXT, HPos::Left, VPos::Center);
            surface.text(&heading.title, (left, top + TITLE_TEXT / 2.0), lettering)?;
            top += TITLE_TEXT + 12.0;
        }
        top = draw_legend(surface, &heading.legend, left, place.right, top)?;
        let bottom = place.bottom - TICK_TEXT - LABEL_TEXT - 22.0;
        let panel =
            Self { surface, frame: Rectangle { left, top: top + 6.0, right: place.right, bottom }, x, y, y_ticks };
        let middle = (0.5 * (left + place.right), 0.5 * (panel.frame.top + bottom));
        let below = lettering(LABEL_TEXT, HPos::Center, VPos::Center);
        surface.text(&panel.x.label, (middle.0, place.bottom - LABEL_TEXT / 2.0), below)?;
        let beside = Lettering { upright: true, ..below };
        surface.text(&panel.y.label, (place.left + LABEL_TEXT / 2.0, middle.1), beside)?;
        Ok(panel)
    }

    /// Grid lines, axes, ticks and their labels. Drawn after areas and before lines, so the grid shows on areas.
    pub(super) fn draw_axes(&self) -> Drawn {
        let Rectangle { left, top, right, bottom } = self.frame;
        let ink = Stroke::solid(palette::INK, 1.2);
        let faint = Stroke { colour: palette::INK.mix(0.1), width: 1.0, dash: None };
        for (value, label) in &self.y_ticks {
            let y = self.place((self.x.range.0, *value)).1;
            self.surface.line(&[(left, y), (right, y)], faint)?;
            self.surface.line(&[(left - 6.0, y), (left, y)], ink)?;
            self.surface.text(label, (left - 10.0, y), lettering(TICK_TEXT, HPos::Right, VPos::Center))?;
        }
        for (value, label) in self.x.ticks(tick_count(right - left, 72.0)) {
            let x = self.place((value, self.y.range.0)).0;
            self.surface.line(&[(x, top), (x, bottom)], faint)?;
            self.surface.line(&[(x, bottom), (x, bottom + 6.0)], ink)?;
            let at = (x, bottom + 10.0 + TICK_TEXT / 2.0);
            self.surface.text(&label, at, lettering(TICK_TEXT, HPos::Center, VPos::Center))?;
        }
        self.surface.line(&[(left, top), (left, bottom)], ink)?;
        self.surface.line(&[(left, bottom), (right, bottom)], ink)
    }

    /// A line through points in the axes' units, clipped to the panel and interrupted where they are not finite.
    pub(super) fn line(&self, points: impl IntoIterator<Item = Point>, stroke: Stroke) -> Drawn {
        let mut piece = Vec::new();
        for point in points.into_iter().map(Some).chain([None]) {
            match point.map(|point| self.place(point)).filter(|(x, y)| x.is_finite() && y.is_finite()) {
                Some(point) => piece.push(point),
                None => {
                    for visible in clipped(&thinned(&piece), self.frame) {
                        self.surface.line(&visible, stroke)?;
                    }
                    piece.clear();
                }
            }
        }
        Ok(())
    }

    /// The area between `lower` and `upper` over `x`; values beyond the panel are moved to its edge.
    pub(super) fn band(&self, x: &[f64], lower: &[f64], upper: &[f64], colour: RGBColor) -> Drawn {
        let edge = |(x, y): Point| {
            let Rectangle { left, top, right, bottom } = self.frame;
            (x.clamp(left, right), y.clamp(top, bottom))
        };
        let finite: Vec<usize> = (0..x.len()).filter(|&i| lower[i].is_finite() && upper[i].is_finite()).collect();
        let there = finite.iter().map(|&i| edge(self.place((x[i], upper[i]))));
        let back = finite.iter().rev().map(|&i| edge(self.place((x[i], lower[i]))));
        let outline: Vec<Point> = there.chain(back).collect();
        if outline.len() < 4 { Ok(()) } else { self.surface.area(&outline, colour) }
    }

    /// A disc with a thin white rim at a point inside the panel; nothing outside.
    pub(super) fn disc(&self, point: Point, radius: f64, colour: RGBColor) -> Drawn {
        let at = self.place(point);
        if !self.contains(at) {
            return Ok(());
        }
        self.surface.disc(at, radius + 1.0, RGBColor(255, 255, 255))?;
        self.surface.disc(at, radius, colour)
    }

    /// A small remark in the upper right corner of the axes.
    pub(super) fn remark(&self, text: &str) -> Drawn {
        let lettering = Lettering { colour: palette::GREY, ..lettering(LEGEND_TEXT - 2.0, HPos::Right, VPos::Center) };
        self.surface.text(text, (self.frame.right - 6.0, self.frame.top + LEGEND_TEXT / 2.0), lettering)
    }

    fn contains(&self, (x, y): Point) -> bool {
        let Rectangle { left, top, right, bottom } = self.frame;
        x >= left - 0.5 && x <= right + 0.5 && y >= top - 0.5 && y <= bottom + 0.5
    }

    /// From the axes' units to the picture's pixels.
    fn place(&self, (x, y): Point) -> Point {
        let Rectangle { left, top, right, bottom } = self.frame;
        (left + self.x.fraction(x) * (right - left), bottom - self.y.fraction(y) * (bottom - top))
    }
}

fn tick_count(length: f64, spacing: f64) -> usize {
    (length / spacing).floor().clamp(2.0, 8.0) as usize
}

fn lettering(size: f64, horizontal: HPos, vertical: VPos) -> Lettering {
    Lettering { size, colour: palette::INK, anchor: (horizontal, vertical), upright: false }
}

/// Draws the legend's entries in rows from `top` downwards; returns where the last row ends.
fn draw_legend(
    surface: &dyn Surface,
    entries: &[(Key, String)],
    left: f64,
    right: f64,
    top: f64,
) -> Result<f64, String> {
    if entries.is_empty() {
        return Ok(top);
    }
    let (mut x, mut y) = (left, top + LEGEND_ROW_HEIGHT / 2.0);
    for (key, text) in entries {
        let width = LEGEND_KEY_WIDTH + 8.0 + surface.text_width(text, LEGEND_TEXT) * TEXT_WIDTH_RESERVE;
        if x > left && x + width > right {
            (x, y) = (left, y + LEGEND_ROW_HEIGHT);
        }
        match *key {
            Key::Line(stroke) => surface.line(&[(x, y), (x + LEGEND_KEY_WIDTH, y)], stroke)?,
            Key::Disc(colour) => surface.disc((x + LEGEND_KEY_WIDTH / 2.0, y), 4.5, colour)?,
            Key::Area(colour) => {
                let (end, up, down) = (x + LEGEND_KEY_WIDTH, y - 7.0, y + 7.0);
                surface.area(&[(x, up), (end, up), (end, down), (x, down)], colour)?;
            }
        }
        surface.text(text, (x + LEGEND_KEY_WIDTH + 8.0, y), lettering(LEGEND_TEXT, HPos::Left, VPos::Center))?;
        x += width + 22.0;
    }
    Ok(y + LEGEND_ROW_HEIGHT / 2.0)
}

/// A long curve reduced to first, lowest, highest and last point of each half pixel column: it looks the same.
fn thinned(points: &[Point]) -> Vec<Point> {
    if points.len() < 2000 {
        return points.to_vec();
    }
    let mut kept = Vec::new();
    for column in points.chunk_by(|a, b| (2.0 * a.0).floor() == (2.0 * b.0).floor()) {
        let by_height = |a: &usize, b: &usize| column[*a].1.total_cmp(&column[*b].1);
        let lowest = (0..column.len()).min_by(by_height).unwrap_or(0);
        let highest = (0..column.len()).max_by(by_height).unwrap_or(0);
        let mut indices = vec![0, lowest, highest, column.len() - 1];
        indices.sort_unstable();
        indices.dedup();
        kept.extend(indices.into_iter().map(|index| column[index]));
    }
    kept
}

/// The parts of a line inside `frame`.
fn clipped(points: &[Point], frame: Rectangle) -> Vec<Vec<Point>> {
    let mut parts: Vec<Vec<Point>> = Vec::new();
    let mut open = false;
    for pair in points.windows(2) {
        match clipped_segment(pair[0], pair[1], frame) {
            Some((from, to)) => {
                match parts.last_mut() {
                    Some(part) if open => part.push(to),
                    _ => parts.push(vec![from, to]),
                }
                open = to == pair[1];
            }
            None => open = false,
        }
    }
    parts
}

/// The part of a segment inside `frame` (Liang and Barsky, 1984).
fn clipped_segment(from: Point, to: Point, frame: Rectangle) -> Option<(Point, Point)> {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
    // One bound a side: the part with `rate * t <= room` is inside.
    let sides = [
        (-dx, from.0 - frame.left),
        (dx, frame.right - from.0),
        (-dy, from.1 - frame.top),
        (dy, frame.bottom - from.1),
    ];
    for (rate, room) in sides {
        if rate == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if rate < 0.0 {
            enter = enter.max(room / rate);
        } else {
            leave = leave.min(room / rate);
        }
    }
    if enter > leave {
        return None;
    }
    let at = |part: f64| (from.0 + part * dx, from.1 + part * dy);
    Some((if enter > 0.0 { at(enter) } else { from }, if leave < 1.0 { at(leave) } else { to }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Rectangle = Rectangle { left: 0.0, top: 0.0, right: 10.0, bottom: 10.0 };

    #[test]
    fn a_line_that_leaves_and_returns_is_cut_into_its_inner_parts() {
        let parts = clipped(&[(1.0, 5.0), (3.0, 15.0), (5.0, 5.0), (7.0, 6.0)], FRAME);
        assert_eq!(parts, [vec![(1.0, 5.0), (2.0, 10.0)], vec![(4.0, 10.0), (5.0, 5.0), (7.0, 6.0)]]);
    }

    #[test]
    fn a_line_that_misses_the_frame_disappears() {
        assert!(clipped(&[(-5.0, -5.0), (15.0, -1.0), (20.0, 20.0)], FRAME).is_empty());
    }

    #[test]
    fn a_thinned_curve_keeps_its_ends_and_extremes() {
        let points: Vec<Point> =
            (0..100_000).map(|i| (i as f64 * 1e-3, if i == 41_234 { 77.0 } else { (i % 17) as f64 })).collect();
        let kept = thinned(&points);
        assert!(kept.len() <= 4 * 201, "{}", kept.len());
        assert_eq!((kept[0], kept[kept.len() - 1]), (points[0], points[99_999]));
        assert!(kept.contains(&points[41_234]));
    }
}
