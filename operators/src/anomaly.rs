//! Anomaly scores: a robust seasonal baseline per series, maintained as cells change.

mod detector;
mod operator;

pub use detector::{Detector, Point, Score, score_series};
pub use operator::{SeriesKey, SeriesKind, SeriesPoint, anomalies, is_watched_of_agents, series_points};
