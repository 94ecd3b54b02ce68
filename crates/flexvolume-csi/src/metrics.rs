//! Counters, for whoever watches the bridge.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Upper bounds of the durations that are told apart, in seconds.
const BOUNDS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 300.0];

/// How one method of one driver went, with one code.
#[derive(Debug, Clone, Copy, Default)]
struct Series {
    calls: u64,
    seconds: f64,
    buckets: [u64; BOUNDS.len()],
}

/// Which driver, method and code.
type Labels = (String, String, &'static str);

/// All counters of a process.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<BTreeMap<Labels, Series>>);

impl Metrics {
    /// Counts a call.
    pub(crate) fn count(&self, (driver, method): (&str, &str), code: &'static str, took: Duration) {
        let mut all = self.all();
        let series = all.entry((driver.to_owned(), method.to_owned(), code)).or_default();
        let seconds = took.as_secs_f64();
        series.calls += 1;
        series.seconds += seconds;
        for (bucket, bound) in series.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    /// The text format of Prometheus.
    pub(crate) fn text(&self) -> String {
        const NAME: &str = "flexvol_csi_call_seconds";
        let mut text =
            format!("# HELP {NAME} Calls of the container storage interface.\n# TYPE {NAME} histogram\n");
        for ((driver, method, code), series) in self.all().iter() {
            let labels = format!("driver=\"{driver}\",method=\"{method}\",code=\"{code}\"");
            let mut line = |name: &str, value: String| {
                // A String takes everything.
                let _ = writeln!(text, "{NAME}{name} {value}");
            };
            for (count, bound) in series.buckets.iter().zip(BOUNDS) {
                line(&format!("_bucket{{{labels},le=\"{bound}\"}}"), count.to_string());
            }
            line(&format!("_bucket{{{labels},le=\"+Inf\"}}"), series.calls.to_string());
            line(&format!("_sum{{{labels}}}"), series.seconds.to_string());
            line(&format!("_count{{{labels}}}"), series.calls.to_string());
        }
        text
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Labels, Series>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody who asks for counters has more to say.
const LONGEST_REQUEST: usize = 8192;
/// How long it may take to say it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers every HTTP request on `listener` with the counters.
pub(crate) async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answering = tokio::time::timeout(PATIENCE, answer(stream, Arc::clone(&metrics)));
                // A client that goes away or says nothing is its own loss.
                tokio::spawn(async move { drop(answering.await) });
            }
            Err(error) => {
                tracing::warn!(%error, "the counters cannot be served");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < LONGEST_REQUEST {
        match stream.read(&mut piece).await? {
            0 => break,
            length => request.extend_from_slice(&piece[..length]),
        }
    }
    let text = metrics.text();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_their_length() {
        let metrics = Metrics::default();
        metrics.count(("a/b", "NodePublishVolume"), "OK", Duration::from_millis(30));
        metrics.count(("a/b", "NodePublishVolume"), "OK", Duration::from_secs(400));
        let text = metrics.text();
        let labels = "driver=\"a/b\",method=\"NodePublishVolume\",code=\"OK\"";
        for line in [
            format!("flexvol_csi_call_seconds_bucket{{{labels},le=\"0.025\"}} 0\n"),
            format!("flexvol_csi_call_seconds_bucket{{{labels},le=\"0.1\"}} 1\n"),
            format!("flexvol_csi_call_seconds_bucket{{{labels},le=\"+Inf\"}} 2\n"),
            format!("flexvol_csi_call_seconds_count{{{labels}}} 2\n"),
        ] {
            assert!(text.contains(&line), "{line} is not in {text}");
        }
    }
}
