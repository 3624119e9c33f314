//! The whole bench, section by section, each on a control plane of its own, so that none pays for another one's objects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use idissuer_testbed::process::Signal;
use idissuer_testbed::{ControlPlane, Options, variable};

use super::field::{Field, Scope};
use super::figures::{Case, Figures};
use super::{accounts, ceiling, fan_out, first_issue, limit, memory, outage, restart, steady};
use crate::operator::HOUR;

/// The writes of a bare client do not get cheaper with their number.
const CEILING: usize = 1_000;
/// The credentials of an outage, and the followers of one credential.
const MANY: usize = 1_000;
const CHURNED: usize = 300;
/// The credentials of few accounts.
const OF_FEW_ACCOUNTS: usize = 10_000;
const SECTIONS: &str = "size,steady,outage,churn,fan-out,accounts";
const LONG_SECTIONS: &str = "size,steady,outage,churn,fan-out,accounts,limit";
/// How long a profiler may take to write what it found.
const PROFILE: Duration = Duration::from_secs(300);

/// The program to measure, if it is not the one of this build: `OPERATOR=path`.
pub(super) fn program() -> Option<PathBuf> {
    variable("OPERATOR").map(PathBuf::from)
}

/// How much is measured: `LONG=yes` for `make bench-long`.
struct Length {
    steady: Duration,
    outage: Duration,
    rounds: usize,
    unrelated: usize,
    sections: &'static str,
}

impl Length {
    fn of_environment() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        if variable("LONG").is_some() {
            Self {
                steady: minutes(20),
                outage: minutes(5),
                rounds: 34,
                unrelated: 10_000,
                sections: LONG_SECTIONS,
            }
        } else {
            Self { steady: minutes(1), outage: minutes(1), rounds: 8, unrelated: 2_000, sections: SECTIONS }
        }
    }
}

/// A control plane with the CRD of the program that is measured.
async fn control_plane() -> ControlPlane {
    let program = program().unwrap_or_else(|| env!("CARGO_BIN_EXE_idissuer").into());
    let crd = Command::new(program).arg("crd").output().unwrap();
    ControlPlane::start(Options::new().crd(String::from_utf8(crd.stdout).unwrap())).await.unwrap()
}

/// First issue, memory, restart and ceiling with so many credentials.
async fn by_size(size: usize, length: &Length, figures: &mut Figures, folder: &Path) {
    let control_plane = control_plane().await;
    let mut field = Field::prepare(&control_plane, size, Scope::Cluster, HOUR).await;
    let case = size.to_string();
    field.start_operator().await;
    field.settle().await;
    let rest = field.memory();
    field.add_logins(0..size).await;
    first_issue::warm_up(&field).await;
    field.settle().await;
    first_issue::first_issue(&field, 0..size, figures.case("first issue", &case)).await;
    memory::by_credential(figures.case("memory", &case), rest, &field, size);
    keep(figures, folder);
    restart::restart(&mut field, figures.case("restart", &case)).await;
    restart::failovers(&mut field, figures.case("restart", &case)).await;
    if size == MANY {
        memory::unrelated_secrets(&field, length.unrelated, figures.case("memory", &case)).await;
    }
    field.operator.stop().await;
    if size <= CEILING {
        ceiling::ceiling(&field, size, figures.case("ceiling", &case)).await;
        ratios(figures, &case);
    }
}

/// The first issue beside a bare client: beside the three writes that are the least possible, and beside as many requests as the
/// operator makes.
fn ratios(figures: &mut Figures, case: &str) {
    let ceiling = figures.case("ceiling", case).clone();
    let issue = figures.case("first issue", case);
    let [least, same] = ["three writes with status PUT", "the operator's requests"];
    let bare = |name: &str, unit: &str| ceiling.get(&format!("{name}: {unit}")).unwrap_or(f64::NAN);
    let created = |unit: &str| bare("create credential", unit);
    let own = |name: &str| issue.get(name).unwrap_or(f64::NAN);
    let (seconds, load) = ("seconds", "API server CPU ms a call");
    let ratios = [
        ("seconds against the ceiling", own(seconds) / bare(least, seconds)),
        ("seconds against the same requests", own(seconds) / (created(seconds) + bare(same, seconds))),
        ("API server CPU against the ceiling", own("API server CPU ms a credential") / bare(least, load)),
        (
            "API server CPU against the same requests",
            own("API server CPU ms a credential") / (created(load) + bare(same, load)),
        ),
        (
            "operator CPU against the same requests",
            own("operator CPU ms a credential") / bare(same, "client CPU ms a call"),
        ),
    ];
    for (name, ratio) in ratios {
        issue.set(name, ratio);
    }
}

/// A field with a working operator, and credentials that have their first tokens.
async fn issued(control_plane: &ControlPlane, size: usize, lifetime: Duration) -> Field<'_> {
    let mut field = Field::prepare(control_plane, size, Scope::Cluster, lifetime).await;
    field.add_logins(0..size).await;
    field.start_operator().await;
    field
}

async fn renewals(length: &Length, figures: &mut Figures) {
    let control_plane = control_plane().await;
    let field = issued(&control_plane, steady::SIZE, steady::LIFETIME).await;
    steady::steady(&field, length.steady, figures).await;
}

async fn outages(length: &Length, figures: &mut Figures) {
    let control_plane = control_plane().await;
    let field = issued(&control_plane, MANY, outage::LIFETIME).await;
    first_issue::first_issue(&field, 0..MANY, &mut Case::default()).await;
    outage::outage(&field, MANY, length.outage, figures.case("outage", MANY.to_string())).await;
}

async fn churn(length: &Length, figures: &mut Figures) {
    let control_plane = control_plane().await;
    let field = issued(&control_plane, CHURNED, HOUR).await;
    memory::churn(&field, CHURNED, length.rounds, figures.case("churn", CHURNED.to_string())).await;
}

async fn followers(figures: &mut Figures) {
    let control_plane = control_plane().await;
    let field = issued(&control_plane, MANY + 1, fan_out::LIFETIME).await;
    fan_out::fan_out(&field, MANY, figures.case("fan-out", MANY.to_string())).await;
}

async fn few_accounts(figures: &mut Figures) {
    let control_plane = control_plane().await;
    let mut field = Field::prepare(&control_plane, OF_FEW_ACCOUNTS, Scope::Cluster, HOUR).await;
    field.start_operator().await;
    let case = figures.case("ten accounts", OF_FEW_ACCOUNTS.to_string());
    accounts::of_few_accounts(&field, OF_FEW_ACCOUNTS, case).await;
}

async fn memory_limit(figures: &mut Figures) {
    let control_plane = control_plane().await;
    let mut field = issued(&control_plane, limit::CREDENTIALS, HOUR).await;
    limit::holds(&mut field, figures.case("memory limit", limit::CREDENTIALS.to_string())).await;
}

/// What `make bench` measured of the sidecar before.
fn sidecar(folder: &Path, figures: &mut Figures) {
    let Ok(json) = std::fs::read(folder.join("sidecar.json")) else { return };
    let found: BTreeMap<String, f64> = serde_json::from_slice(&json).unwrap();
    for (name, value) in found {
        figures.case("sidecar", "proxy").set(name, value);
    }
}

/// First tokens of an operator that runs under a profiler, which writes when the operator ends.
async fn profile(size: usize) {
    let control_plane = control_plane().await;
    let mut field = issued(&control_plane, size, HOUR).await;
    first_issue::first_issue(&field, 0..size, &mut Case::default()).await;
    let operator = field.operator.take_process();
    operator.signal(Signal::Terminate).unwrap();
    operator.wait_timeout(PROFILE).await.unwrap();
}

fn sizes() -> Vec<usize> {
    let text = variable("SIZES").unwrap_or_else(|| "100,1000,10000".to_owned());
    text.split(',').map(|size| size.parse().unwrap()).collect()
}

/// Shows what is known so far, and keeps it.
fn keep(figures: &Figures, folder: &Path) {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/bench/results.json");
    figures.write(&folder.join("results.json"));
    super::plot::write(figures, folder);
    let table = figures.table(Figures::read(&committed).as_ref());
    std::fs::write(folder.join("table.txt"), &table).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes up to half an hour: make bench runs it"]
async fn what_it_costs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&folder).unwrap();
    let (length, mut figures) = (Length::of_environment(), Figures::default());
    sidecar(&folder, &mut figures);
    let wanted = variable("SECTIONS").unwrap_or_else(|| length.sections.to_owned());
    for section in wanted.split(',') {
        eprintln!("… {section}");
        match section {
            "size" => {
                for size in sizes() {
                    by_size(size, &length, &mut figures, &folder).await;
                    keep(&figures, &folder);
                }
            }
            "steady" => renewals(&length, &mut figures).await,
            "outage" => outages(&length, &mut figures).await,
            "churn" => churn(&length, &mut figures).await,
            "fan-out" => followers(&mut figures).await,
            "accounts" => few_accounts(&mut figures).await,
            "limit" => memory_limit(&mut figures).await,
            "profile" => return profile(sizes()[0]).await,
            other => panic!("no section {other}"),
        }
        keep(&figures, &folder);
    }
    eprintln!("{}", std::fs::read_to_string(folder.join("table.txt")).unwrap());
}
