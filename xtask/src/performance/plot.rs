//! The ratios as a picture: a bar for each row, on a logarithmic scale, with a mark where its target is.

use super::figures::{Figures, Row, duration, times};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const WIDTH: u32 = 1000;
const ROW: i32 = 22;
const ABOVE: i32 = 40;
/// Where the bars' ground line may begin, and how far they may go.
const LEFT: i32 = 330;
const RIGHT: i32 = 760;
/// What the scale spans: a hundredth of the kernel's speed to a thousand times it.
const SPAN: (f64, f64) = (-2.0, 3.0);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), String>;

/// Draws it.
pub(super) fn ratios(figures: &Figures) -> Result<String, String> {
    let mut text = String::new();
    let height = ABOVE + ROW * figures.rows.len() as i32 + 10;
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height as u32)).into_drawing_area();
        area.fill(&WHITE).map_err(|why| why.to_string())?;
        scale(&area, height)?;
        for (at, row) in figures.rows.iter().enumerate() {
            bar(&area, row, ABOVE + ROW * at as i32)?;
        }
        area.present().map_err(|why| why.to_string())?;
    }
    Ok(text)
}

/// Where a ratio is.
fn x(ratio: f64) -> i32 {
    let part = (ratio.log10().clamp(SPAN.0, SPAN.1) - SPAN.0) / (SPAN.1 - SPAN.0);
    LEFT + ((RIGHT - LEFT) as f64 * part) as i32
}

fn write(area: &Area<'_>, text: &str, at: (i32, i32), h: HPos) -> Drawn {
    let style = ("sans-serif", 13).into_font().color(&BLACK).pos(Pos::new(h, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style)).map_err(|why| why.to_string())
}

fn line(area: &Area<'_>, from: (i32, i32), to: (i32, i32), style: ShapeStyle) -> Drawn {
    area.draw(&PathElement::new(vec![from, to], style)).map_err(|why| why.to_string())
}

fn scale(area: &Area<'_>, height: i32) -> Drawn {
    for power in SPAN.0 as i32..=SPAN.1 as i32 {
        let ratio = 10_f64.powi(power);
        let style = if power == 0 { BLACK.stroke_width(1) } else { BLACK.mix(0.2).stroke_width(1) };
        line(area, (x(ratio), ABOVE - 8), (x(ratio), height - 10), style)?;
        let text = if power == 0 { "the kernel".to_owned() } else { format!("{ratio} ×") };
        write(area, &text, (x(ratio), ABOVE - 20), HPos::Center)?;
    }
    Ok(())
}

fn bar(area: &Area<'_>, row: &Row, top: i32) -> Drawn {
    let middle = top + ROW / 2;
    write(area, &row.what, (LEFT - 8, middle), HPos::Right)?;
    let Some(ratio) = row.ratio else { return write(area, "not measured", (RIGHT + 12, middle), HPos::Left) };
    let colour = if ratio >= row.target { RGBColor(0x2e, 0x7d, 0x32) } else { RGBColor(0xc6, 0x28, 0x28) };
    let (from, to) = (x(1.0).min(x(ratio)), x(1.0).max(x(ratio)));
    area.draw(&Rectangle::new([(from, top + 4), (to, top + ROW - 4)], colour.filled()))
        .map_err(|why| why.to_string())?;
    let target = x(row.target);
    line(area, (target, top + 1), (target, top + ROW - 1), BLACK.stroke_width(2))?;
    let [kernel, ring3] = [row.kernel, row.ring3].map(|ns| ns.map_or("-".to_owned(), duration));
    write(area, &format!("{}   {kernel} → {ring3}", times(ratio)), (RIGHT + 12, middle), HPos::Left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_logarithmic_and_ends() {
        assert_eq!((x(0.01), x(1000.0)), (LEFT, RIGHT));
        assert_eq!((x(0.0001), x(1e9)), (LEFT, RIGHT));
        assert_eq!(x(10.0) - x(1.0), x(100.0) - x(10.0));
    }
}
