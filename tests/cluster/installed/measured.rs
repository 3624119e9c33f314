//! What the operator's pods use, as the kubelet measures it.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::Request;
use idissuer_testbed::{Node, wait};

use super::place::{HOME, LIMIT, Place};
use crate::operator::now;

/// Of a core, in seconds since the container began.
const TIME: &str = "container_cpu_usage_seconds_total";
const MEMORY: &str = "container_memory_working_set_bytes";
/// Over how long the use of a core is measured: a renewed lease shows in it as often as it comes.
const SPAN: Duration = Duration::from_secs(60);

/// A value, and when the kubelet took it, in milliseconds of the wall clock.
type Sample = (f64, u64);

/// A line of the kubelet's: `name{labels} value time`.
fn sample(line: &str) -> (String, Sample) {
    let (labels, numbers) = line.split_once("} ").unwrap();
    let (pod, _) = labels.split_once("pod=\"").unwrap().1.split_once('"').unwrap();
    let (value, time) = numbers.split_once(' ').unwrap();
    (pod.to_owned(), (value.parse().unwrap(), time.parse().unwrap()))
}

impl Place {
    /// What the kubelet last measured of containers with these labels, by their pods.
    async fn samples(&self, name: &str, labels: &[&str]) -> BTreeMap<String, Sample> {
        let path = format!("/api/v1/nodes/{}/proxy/metrics/resource", Node::NAME);
        let request = Request::get(path).body(Vec::new()).unwrap();
        let metrics = self.cluster.control_plane().client().unwrap().request_text(request).await.unwrap();
        let is_wanted =
            |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        metrics.lines().filter(is_wanted).map(sample).collect()
    }

    /// The same of the operator, once all of both pods were taken at this time or later.
    async fn samples_since(&self, name: &str, time: u64) -> BTreeMap<String, Sample> {
        wait::until("a later sample of both pods", LIMIT, async || {
            // It takes one every ten seconds or so, and asking is work for the same machine.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let samples = self.samples(name, &[&format!("namespace=\"{HOME}\"")]).await;
            let is_late = samples.len() == 2 && samples.values().all(|(_, at)| *at >= time);
            if is_late { Ok(samples) } else { Err(format!("{samples:?}, but not since {time}")) }
        })
        .await
    }

    /// Prints the memory of the containers of this name in a namespace.
    pub(super) async fn tell_memory_of(&self, container: &str, namespace: &str) {
        let labels = [format!("container=\"{container}\""), format!("namespace=\"{namespace}\"")];
        let samples = wait::until("what the kubelet measures", LIMIT, async || {
            let samples = self.samples(MEMORY, &labels.each_ref().map(String::as_str)).await;
            (!samples.is_empty()).then_some(samples)
        });
        for (pod, (bytes, _)) in samples.await {
            eprintln!("{container} in {pod}: {:.1} MiB", bytes / 1024.0 / 1024.0);
        }
    }

    /// Prints what each of the operator's pods uses while there is nothing to do.
    pub(super) async fn tell_use_at_rest(&self) {
        let leader = self.leader().await;
        let begin = u64::try_from(now().as_millisecond()).unwrap();
        let before = self.samples_since(TIME, begin).await;
        let end = before.values().map(|(_, at)| *at).max().unwrap() + SPAN.as_secs() * 1000;
        let after = self.samples_since(TIME, end).await;
        let memory = self.samples_since(MEMORY, end).await;
        for (pod, (seconds, at)) in &after {
            let (seconds_before, at_before) = before[pod];
            let span = Duration::from_millis(at - at_before).as_secs_f64();
            eprintln!(
                "at rest, the pod that {}: {:.1} MiB, {:.1} thousandths of a core over {span:.0} s",
                if *pod == leader { "acts" } else { "stands by" },
                memory[pod].0 / 1024.0 / 1024.0,
                (seconds - seconds_before) * 1000.0 / span,
            );
        }
    }
}
