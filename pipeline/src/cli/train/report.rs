//! Figures of a head as text and as a self-contained HTML page.

use comfy_table::Table;
use contactflow_inference::{ClassificationReport, TrainReport};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right}\
th:first-child,td:first-child{text-align:left}.wide{overflow-x:auto}.hit{background:#e3f1e5}";

/// The figures as a table and a line.
pub(super) fn text(report: &ClassificationReport) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::UTF8_BORDERS_ONLY);
    table.set_header(["class", "precision", "recall", "F1", "n"]);
    for (label, class) in &report.per_class {
        table.add_row([
            label.clone(),
            number(class.precision),
            number(class.recall),
            number(class.f1),
            class.n.to_string(),
        ]);
    }
    format!("{table}\n{}", summary(report))
}

fn summary(report: &ClassificationReport) -> String {
    format!(
        "accuracy {:.4}, macro-F1 {:.4}, expected calibration error {:.4}, n {}, failed {}, model {}",
        report.accuracy, report.macro_f1, report.expected_calibration_error, report.n, report.failed, report.model_id
    )
}

/// How training went, and the figures.
pub(super) fn training_text(report: &TrainReport) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::UTF8_BORDERS_ONLY);
    table.set_header([judged_on(report), "accuracy", "macro-F1", "calibration error"]);
    for (name, figures) in branches(report) {
        let numbers = [figures.accuracy, figures.macro_f1, figures.expected_calibration_error].map(number);
        table.add_row([&[name.to_owned()], &numbers[..]].concat());
    }
    format!("{}\n{table}\n{}", training_summary(report), text(&report.validation))
}

/// The rows that the figures are of.
fn judged_on(report: &TrainReport) -> &'static str {
    if report.folds.is_some() { "all rows, each by a head that has not seen it" } else { "validation part" }
}

fn training_summary(report: &TrainReport) -> String {
    let converged = if report.baseline.converged { "converged" } else { "not converged" };
    let biases: Vec<String> = report.label_bias.iter().map(|bias| format!("{bias:+.2}")).collect();
    let biases = if biases.is_empty() { String::new() } else { format!(", label biases {}", biases.join(" ")) };
    let folds = report.folds.map_or_else(String::new, |folds| {
        let macro_f1: Vec<String> = report.fold_macro_f1.iter().map(|&macro_f1| number(macro_f1)).collect();
        format!("\n{folds} folds, macro-F1 of the head on each: {}", macro_f1.join(" "))
    });
    format!(
        "model {}, {} bytes, SHA-256 {}\n\
         seed {}, {} rows ({} dropped), {} to train on ({} of them read by the LSTM), epoch {} of {} kept\n\
         lexical share {:.2}, temperature {:.3}{biases}; the baseline has {} features and is {converged}{folds}",
        report.model_id,
        report.head_bytes,
        report.head_sha256,
        report.seed,
        report.rows,
        report.rows_dropped,
        report.training_rows,
        report.neural_rows,
        report.best_epoch,
        report.curve.len(),
        report.lexical_share,
        report.temperature,
        report.baseline.features,
    )
}

/// What is compared on the validation part.
fn branches(report: &TrainReport) -> Vec<(&'static str, &ClassificationReport)> {
    let mut rows = vec![("head", &report.validation), ("its LSTM alone", &report.neural_branch)];
    rows.extend(report.lexical_branch.as_ref().map(|figures| ("its lexical branch alone", figures)));
    rows.push(("bag of words", &report.baseline.validation));
    rows
}

/// The figures as a page.
pub(super) fn html(title: &str, report: &ClassificationReport) -> String {
    page(title, &figures(report))
}

/// How training went, its curve (an SVG) and the figures as a page.
pub(super) fn training_html(title: &str, report: &TrainReport, curve: &str) -> String {
    let judged_on = judged_on(report);
    let mut table = format!("<table><tr><th>{judged_on}<th>accuracy<th>macro-F1<th>calibration error");
    for (name, figures) in branches(report) {
        let numbers = [figures.accuracy, figures.macro_f1, figures.expected_calibration_error].map(number);
        table.push_str(&row(name, &numbers));
    }
    table.push_str("</table>");
    let summary = escape(&training_summary(report)).replace('\n', "<br>");
    page(title, &format!("<p>{summary}</p>{table}<h2>Learning curve</h2>{curve}{}", figures(&report.validation)))
}

fn figures(report: &ClassificationReport) -> String {
    let mut classes = String::from("<table><tr><th>class<th>precision<th>recall<th>F1<th>n");
    for (label, class) in &report.per_class {
        let numbers = [number(class.precision), number(class.recall), number(class.f1), class.n.to_string()];
        classes.push_str(&row(label, &numbers));
    }
    classes.push_str("</table>");
    let mut confusion = String::from("<table><tr><th>true \\ predicted");
    report.labels.iter().for_each(|label| confusion.push_str(&format!("<th>{}", escape(label))));
    for (index, (label, counts)) in report.labels.iter().zip(&report.confusion).enumerate() {
        confusion.push_str(&format!("<tr><td>{}", escape(label)));
        for (other, count) in counts.iter().enumerate() {
            let class = if other == index { " class=hit" } else { "" };
            confusion.push_str(&format!("<td{class}>{count}"));
        }
    }
    confusion.push_str("</table>");
    let summary = escape(&summary(report));
    format!("<p>{summary}</p><h2>Classes</h2>{classes}<h2>Confusion</h2><div class=wide>{confusion}</div>")
}

fn row(name: &str, values: &[String]) -> String {
    let cells: String = values.iter().map(|value| format!("<td>{}", escape(value))).collect();
    format!("<tr><td>{}{cells}", escape(name))
}

fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>{body}</html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn number(value: f64) -> String {
    format!("{value:.4}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use contactflow_inference::ClassMetrics;

    use super::*;

    #[test]
    fn labels_are_escaped_and_every_figure_is_there() {
        let label = "<b>&\"rude\"".to_owned();
        let class = ClassMetrics { precision: 0.25, recall: 0.5, f1: 1.0 / 3.0, n: 7 };
        let report = ClassificationReport {
            model_id: "m".to_owned(),
            n: 9,
            accuracy: 0.125,
            macro_f1: 0.375,
            expected_calibration_error: 0.0625,
            per_class: BTreeMap::from([(label.clone(), class)]),
            labels: vec![label],
            confusion: vec![vec![7]],
            failed: 2,
        };
        let page = html("head <x>", &report);
        assert!(
            !page.contains("<b>") && page.contains("&lt;b&gt;&amp;&quot;rude&quot;") && page.contains("head &lt;x&gt;")
        );
        for figure in ["0.2500", "0.5000", "0.3333", "0.1250", "0.3750", "0.0625", "failed 2", "<td class=hit>7"] {
            assert!(page.contains(figure), "{figure} in {page}");
        }
        assert!(text(&report).contains("0.3333"));
    }
}
