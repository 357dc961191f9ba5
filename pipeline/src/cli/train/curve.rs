//! The learning curve as a picture.

use std::error::Error;

use contactflow_inference::EpochFigures;
use plotters::prelude::*;

const SIZE: (u32, u32) = (720, 400);
const TRAINING: RGBColor = RGBColor(0x4c, 0x72, 0xb0);
const VALIDATION: RGBColor = RGBColor(0xdd, 0x84, 0x52);
const MACRO_F1: RGBColor = RGBColor(0x55, 0xa8, 0x68);

/// An SVG of the losses (left axis, nats) and the macro-F1 (right axis) by epoch.
pub(super) fn svg(curve: &[EpochFigures]) -> Result<String, String> {
    let mut picture = String::new();
    match draw(curve, &mut picture) {
        Ok(()) => Ok(picture),
        Err(error) => Err(format!("cannot draw the learning curve: {error}")),
    }
}

fn draw(curve: &[EpochFigures], picture: &mut String) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::with_string(picture, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let last = curve.last().map_or(1, |epoch| epoch.epoch).max(2);
    let losses = curve.iter().flat_map(|epoch| [epoch.training_loss, epoch.validation_loss]);
    let highest = losses.fold(0.1_f64, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .right_y_label_area_size(48)
        .build_cartesian_2d(1_u32..last, 0.0..highest)?
        .set_secondary_coord(1_u32..last, 0.0..1.0);
    chart.configure_mesh().x_desc("epoch").y_desc("loss, nats").disable_x_mesh().draw()?;
    chart.configure_secondary_axes().y_desc("macro-F1").draw()?;
    let points = |value: fn(&EpochFigures) -> f64| curve.iter().map(move |epoch| (epoch.epoch, value(epoch)));
    let key = |colour: RGBColor| move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2));
    chart
        .draw_series(LineSeries::new(points(|epoch| epoch.training_loss), TRAINING.stroke_width(2)))?
        .label("training loss")
        .legend(key(TRAINING));
    chart
        .draw_series(LineSeries::new(points(|epoch| epoch.validation_loss), VALIDATION.stroke_width(2)))?
        .label("validation loss")
        .legend(key(VALIDATION));
    chart
        .draw_secondary_series(LineSeries::new(points(|epoch| epoch.validation_macro_f1), MACRO_F1.stroke_width(2)))?
        .label("validation macro-F1")
        .legend(key(MACRO_F1));
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_lines_over_all_epochs() {
        let epoch = |epoch: u32| {
            let validation_macro_f1 = f64::from(epoch) / 10.0;
            EpochFigures { epoch, training_loss: 1.0 / f64::from(epoch), validation_loss: 0.7, validation_macro_f1 }
        };
        let picture = svg(&(1..=5).map(epoch).collect::<Vec<_>>()).expect("draws");
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
        let lines: Vec<&str> = picture.split("<polyline").filter(|part| part.contains("stroke-width=\"2\"")).collect();
        let points = |line: &&str| {
            line.split("points=\"").nth(1).unwrap_or("").split('"').next().unwrap_or("").split_whitespace().count()
        };
        let long = lines.iter().filter(|line| points(line) == 5).count();
        assert_eq!(long, 3, "{picture}");
        assert!(svg(&[]).is_ok() && svg(&[epoch(1)]).is_ok());
    }
}
