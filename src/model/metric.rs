/// Measurements of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    pub id: String,
    /// What is measured: an instance's id.
    pub entity: String,
    pub series: Vec<Series>,
}

/// One quantity over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// An XML name: `cpuUtilization`.
    pub name: String,
    /// Oldest first, each as named values: `min`, `max`, `average`, `unit`, `timestamp` …
    pub samples: Vec<Vec<(String, String)>>,
}
