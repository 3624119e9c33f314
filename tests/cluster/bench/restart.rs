//! A restart and failovers with fresh tokens: nothing has to be written, and the issuer is not called.

use std::time::Duration;

use idissuer_testbed::{AuditRequest, Mark, count};
use jiff::Timestamp;
use tokio::time::Instant;

use super::field::{Field, LIMIT, until_leading};
use super::figures::{Case, float};
use super::usage::processor_seconds;
use crate::operator::{Operator, now};

/// Sets the number of requests since then, and how long after `start` the last one came.
fn requests(field: &Field<'_>, mark: Mark, start: Timestamp, what: &str, case: &mut Case) {
    let requests = field.control_plane.audit().of_user_since(&field.operator.user, mark).unwrap();
    let is_counted = |it: &AuditRequest| it.verb != "watch" && it.resource != "leases";
    let counted: Vec<_> = requests.into_iter().filter(is_counted).collect();
    let last = counted.iter().map(|request| request.timestamp).max().unwrap_or(start);
    case.set(format!("{what}: seconds to quiet"), last.duration_since(start).as_secs_f64());
    case.set(format!("{what}: requests"), float(counted.len()));
    for ((verb, resource), number) in count(&counted) {
        case.set(format!("{what}: requests: {verb} {resource}"), float(number));
    }
}

/// Stops and starts the operator.
pub(super) async fn restart(field: &mut Field<'_>, case: &mut Case) {
    field.settle().await;
    let calls = field.issuer.calls().await;
    field.operator.stop().await;
    let mark = field.control_plane.audit().mark().unwrap();
    let (start, begin) = (now(), Instant::now());
    field.start_operator().await;
    case.set("restart: seconds to leading", begin.elapsed().as_secs_f64());
    field.settle().await;
    requests(field, mark, start, "restart", case);
    case.set("restart: issuer calls", f64::from(field.issuer.calls().await - calls));
    case.set("restart: operator CPU seconds", processor_seconds(field.operator.process().pid()));
    let memory = field.memory();
    case.set("restart: resident MiB", memory.resident);
    case.set("restart: peak MiB", memory.peak);
    case.set("restart: heap MiB", memory.heap);
}

async fn standby(field: &Field<'_>, name: &str) -> Operator {
    let mut standby = field.replica(name);
    standby.start(field.control_plane).await;
    standby.until_ready_within(LIMIT).await;
    standby
}

/// Ends the leader once by each signal; a standby takes over.
pub(super) async fn failovers(field: &mut Field<'_>, case: &mut Case) {
    for (kind, is_killed) in [("SIGTERM", false), ("SIGKILL", true)] {
        let standby = standby(field, &format!("standby-{}", kind.to_lowercase())).await;
        // Its lists have been answered.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let calls = field.issuer.calls().await;
        let mark = field.control_plane.audit().mark().unwrap();
        let (start, begin) = (now(), Instant::now());
        if is_killed {
            field.operator.take_process().kill().await.unwrap();
        } else {
            field.operator.stop().await;
        }
        field.operator = standby;
        until_leading(&field.operator).await;
        case.set(format!("failover by {kind}: seconds to leading"), begin.elapsed().as_secs_f64());
        field.settle().await;
        requests(field, mark, start, &format!("failover by {kind}"), case);
        let calls = field.issuer.calls().await - calls;
        case.set(format!("failover by {kind}: issuer calls"), f64::from(calls));
    }
}
