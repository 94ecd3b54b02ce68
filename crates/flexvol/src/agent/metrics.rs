//! Figures in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use flexvolume_host::reconcile::{Counts, DriverState, Reconciler, Task};

use super::calls::CallRecord;

/// Upper bounds of the buckets, in seconds, as text and as a duration.
const BUCKETS: [(&str, Duration); 9] = [
    ("0.01", Duration::from_millis(10)),
    ("0.05", Duration::from_millis(50)),
    ("0.25", Duration::from_millis(250)),
    ("1", Duration::from_secs(1)),
    ("5", Duration::from_secs(5)),
    ("15", Duration::from_secs(15)),
    ("60", Duration::from_secs(60)),
    ("180", Duration::from_secs(180)),
    ("600", Duration::from_secs(600)),
];

/// How often something took how long.
#[derive(Debug, Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: Duration,
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        for (bucket, (_, bound)) in self.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(took <= bound);
        }
        self.count += 1;
        self.sum += took;
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        for (count, (bound, _)) in self.buckets.iter().zip(BUCKETS) {
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
        }
        let Self { count, sum, .. } = self;
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", sum.as_secs_f64());
        let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
    }
}

/// How an operation or a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Success,
    Failure,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Failure => "failure",
        }
    }
}

/// What is wrong now.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// Manifest files with something wrong.
    pub(super) manifests: usize,
    /// Mounted volumes that do not answer.
    pub(super) sick: usize,
}

/// What has been counted since the start.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    operations: BTreeMap<(Task, Outcome), Histogram>,
    /// By driver and call-out.
    calls: BTreeMap<(String, String), (Histogram, u64)>,
    retries: u64,
}

/// Drivers are people's choice, but the names of call-outs and drivers must not be without number.
const MOST_SERIES: usize = 4096;

impl Metrics {
    pub(super) fn operation(&mut self, task: Task, outcome: Outcome, took: Duration) {
        self.operations.entry((task, outcome)).or_default().add(took);
        self.retries += u64::from(outcome == Outcome::Failure);
    }

    pub(super) fn call(&mut self, call: &CallRecord) {
        let key = (call.driver.clone(), call.verb.clone());
        if self.calls.len() < MOST_SERIES || self.calls.contains_key(&key) {
            let (histogram, failed) = self.calls.entry(key).or_default();
            histogram.add(call.took);
            *failed += u64::from(call.failed);
        }
    }

    /// The figures as they are now.
    pub(super) fn text(&self, reconciler: &Reconciler, troubles: &Troubles) -> String {
        let mut out = String::new();
        write_counts(&mut out, &reconciler.counts());
        describe(&mut out, "flexvol_operations_running", "gauge", "operations that run now");
        let _ = writeln!(out, "flexvol_operations_running {}", reconciler.running());
        describe(&mut out, "flexvol_manifests_troubled", "gauge", "manifest files with something wrong");
        let _ = writeln!(out, "flexvol_manifests_troubled {}", troubles.manifests);
        describe(&mut out, "flexvol_volumes_sick", "gauge", "mounted volumes that do not answer");
        let _ = writeln!(out, "flexvol_volumes_sick {}", troubles.sick);
        describe(&mut out, "flexvol_driver_usable", "gauge", "1 if the driver can be used");
        for (name, state) in reconciler.driver_states() {
            let usable = u8::from(matches!(state, DriverState::Ready(_)));
            let _ = writeln!(out, "flexvol_driver_usable{{driver=\"{}\"}} {usable}", escape(name.as_str()));
        }
        describe(
            &mut out,
            "flexvol_operation_failures_total",
            "counter",
            "operations that failed and are tried again",
        );
        let _ = writeln!(out, "flexvol_operation_failures_total {}", self.retries);
        describe(&mut out, "flexvol_operation_seconds", "histogram", "how long operations took");
        for ((task, outcome), histogram) in &self.operations {
            let labels = format!("task=\"{}\",outcome=\"{}\"", task.as_str(), outcome.as_str());
            histogram.write(&mut out, "flexvol_operation_seconds", &labels);
        }
        self.write_calls(&mut out);
        out
    }

    fn write_calls(&self, out: &mut String) {
        let labels =
            |driver: &str, verb: &str| format!("driver=\"{}\",call=\"{}\"", escape(driver), escape(verb));
        describe(out, "flexvol_driver_call_seconds", "histogram", "how long driver calls took");
        for ((driver, verb), (histogram, _)) in &self.calls {
            histogram.write(out, "flexvol_driver_call_seconds", &labels(driver, verb));
        }
        describe(
            out,
            "flexvol_driver_call_bad_exits_total",
            "counter",
            "driver calls with a bad exit, a signal or a passed deadline",
        );
        for ((driver, verb), (_, failed)) in &self.calls {
            let _ = writeln!(out, "flexvol_driver_call_bad_exits_total{{{}}} {failed}", labels(driver, verb));
        }
    }
}

fn write_counts(out: &mut String, counts: &Counts) {
    describe(out, "flexvol_volumes", "gauge", "volumes of pods by stage");
    for (stage, count) in counts {
        let _ = writeln!(out, "flexvol_volumes{{stage=\"{}\"}} {count}", stage.as_str());
    }
}

fn describe(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A value of a label.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use flexvolume_host::reconcile::{BackOff, Bounds};

    use super::*;

    #[test]
    fn figures_are_counted_and_labelled() {
        let mut metrics = Metrics::default();
        metrics.operation(Task::Mount, Outcome::Success, Duration::from_millis(20));
        metrics.operation(Task::Mount, Outcome::Failure, Duration::from_secs(700));
        let call = CallRecord {
            driver: "a/\"b\"".to_owned(),
            verb: "mount".to_owned(),
            failed: true,
            ..CallRecord::default()
        };
        metrics.call(&call);
        let troubles = Troubles { manifests: 2, sick: 1 };
        let text = metrics.text(&Reconciler::new(Bounds::default(), BackOff::new(1)), &troubles);
        for line in [
            "flexvol_volumes{stage=\"mounted\"} 0",
            "flexvol_manifests_troubled 2",
            "flexvol_volumes_sick 1",
            "flexvol_operation_failures_total 1",
            "flexvol_operation_seconds_bucket{task=\"mount\",outcome=\"success\",le=\"0.01\"} 0",
            "flexvol_operation_seconds_bucket{task=\"mount\",outcome=\"success\",le=\"0.05\"} 1",
            "flexvol_operation_seconds_bucket{task=\"mount\",outcome=\"failure\",le=\"600\"} 0",
            "flexvol_operation_seconds_bucket{task=\"mount\",outcome=\"failure\",le=\"+Inf\"} 1",
            "flexvol_driver_call_bad_exits_total{driver=\"a/\\\"b\\\"\",call=\"mount\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let names: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let mut unique = names.clone();
        unique.dedup();
        assert_eq!(names, unique);
    }
}
