//! Measures and prints the cost of restarts and failovers, and the memory. Asserts nothing.

use std::time::Duration;

use futures::StreamExt as _;
use idissuer::api::IdIssuerCredential;
use idissuer_simulator::User;
use idissuer_testbed::{variable, wait};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::operator::{HOUR, NAME, Operator, Stage, holds, issuer, now, token_status};

/// How long all first tokens, or a failover, may take at most.
const LIMIT: Duration = Duration::from_secs(300);
const ROUNDS: usize = 5;

fn parameter(name: &str, default: usize) -> usize {
    variable(name).map_or(default, |text| text.parse().unwrap())
}

async fn until_ready(stage: &Stage, count: usize) -> Duration {
    let begin = Instant::now();
    wait::until("all to be ready", LIMIT, async || {
        let list = stage.credentials().list(&ListParams::default()).await.unwrap();
        let is_ready = |it: &&IdIssuerCredential| holds(it, "Ready", "True", "TokenPublished");
        let ready = list.items.iter().filter(is_ready).count();
        (ready == count).then_some(()).ok_or(ready)
    })
    .await;
    begin.elapsed()
}

/// Waits until a replica leads and has woken everyone.
async fn until_leading(replica: &Operator) -> Duration {
    let begin = Instant::now();
    wait::until("leadership", LIMIT, async || replica.output().contains("leading")).await;
    begin.elapsed()
}

/// The memory of the operator: `VmRSS` now, `VmHWM` at most so far.
fn mebibytes(operator: &Operator, kind: &str) -> f64 {
    f64::from(u32::try_from(operator.process().memory(kind).unwrap()).unwrap()) / 1024.0
}

/// Ends the leader by one of the signals, over and over, and starts it again as the standby.
async fn failovers(
    stage: &Stage,
    leader: &mut Operator,
    standby: &mut Operator,
    is_killed: bool,
) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        if is_killed {
            leader.take_process().kill().await.unwrap();
        } else {
            leader.stop().await;
        }
        until_leading(standby).await;
        times.push(begin.elapsed());
        leader.start(stage.control_plane).await;
        leader.until_ready().await;
        std::mem::swap(leader, standby);
    }
    times
}

fn show(times: &[Duration]) -> String {
    let seconds = |time: &Duration| format!("{:.1}", time.as_secs_f64());
    times.iter().map(seconds).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
#[ignore = "prints figures: make figures runs it"]
async fn what_restarts_and_failovers_cost() {
    let (credentials, accounts) = (parameter("CREDENTIALS", 1_000), parameter("ACCOUNTS", 300));
    let mut stage = Stage::start_with("figures", issuer(HOUR), |operator, _| {
        let namespace = operator.arguments[2].clone();
        operator.arguments.extend(["--leader-elect".into(), "--lease-namespace".into(), namespace]);
    })
    .await;
    for account in 0..accounts {
        let name = format!("account-{account}");
        stage.issuer.set_user(&User::new(&name, "secret"));
        stage.write_secret(&name, &[("username", name.as_bytes()), ("password", b"secret")]).await;
    }
    let begin = Instant::now();
    for credential in 0..credentials {
        let login = json!({"name": format!("account-{}", credential % accounts)});
        stage.apply_as(&format!("credential-{credential}"), json!({"loginSecretRef": login})).await;
    }
    let applied = begin.elapsed();
    let issued = until_ready(&stage, credentials).await;
    let logins = stage.issuer_calls();
    let (now, most) = (mebibytes(&stage.operator, "VmRSS"), mebibytes(&stage.operator, "VmHWM"));

    stage.restart_operator().await;
    stage.settle().await;
    let after_restart = stage.issuer_calls() - logins;
    let mut standby = stage.prepare_replica("standby");
    standby.start(stage.control_plane).await;
    standby.until_ready().await;
    let mut leader = stage.prepare_replica("leader");
    std::mem::swap(&mut leader, &mut stage.operator);
    let stopped = failovers(&stage, &mut leader, &mut standby, false).await;
    let killed = failovers(&stage, &mut leader, &mut standby, true).await;
    until_ready(&stage, credentials).await;
    let after_failovers = stage.issuer_calls() - logins;

    eprintln!("\n{credentials} credentials of {accounts} accounts, tokens of an hour");
    eprintln!(
        "  applied one after the other in      {:.1} s, all ready {:.1} s later",
        applied.as_secs_f64(),
        issued.as_secs_f64()
    );
    eprintln!("  memory of the operator, MiB         {now:.0} at rest, {most:.0} at most");
    eprintln!("  logins for the first tokens         {logins}");
    eprintln!("  issuer calls after a restart        {after_restart}");
    eprintln!("  issuer calls after {} failovers     {after_failovers}", 2 * ROUNDS);
    eprintln!("  failover after SIGTERM, seconds     {}", show(&stopped));
    eprintln!("  failover after SIGKILL, seconds     {}", show(&killed));
}

/// A bundle of the largest size, like no other.
fn bundle(number: usize) -> String {
    let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
    format!("# {number} {}\n{}", "x".repeat(250 * 1024), authority.cert.pem())
}

/// A credential that is as large as it may be.
fn worst(number: usize, suspended: bool) -> (String, Value) {
    let name = format!("c{number:04}{}", "n".repeat(248));
    let text = |length: usize| format!("{number}{}", "x".repeat(length));
    let data: Map<String, Value> =
        (0..4).map(|key| (format!("{key}{}", "k".repeat(60)), json!(text(16_000) + "{{ token }}"))).collect();
    let labels: Map<String, Value> = (0..32).map(|key| (format!("l{key}"), json!("v".repeat(63)))).collect();
    let annotations: Map<String, Value> =
        (0..32).map(|key| (format!("a{key}"), json!(text(4_000)))).collect();
    let own: Map<String, Value> =
        (0..10).map(|key| (format!("idissuer.pl/own-{key}"), json!(text(20_000)))).collect();
    let manifest = json!({
        "apiVersion": "idissuer.pl/v1alpha1", "kind": "IdIssuerCredential",
        "metadata": {"name": name, "annotations": own},
        "spec": {
            "loginSecretRef": {"name": format!("login-{number}")},
            "issuer": {"caBundleRef": {"kind": "ConfigMap", "name": format!("bundle-{}", number % 32), "key": "ca.crt"}},
            "target": {"template": {"metadata": {"labels": labels, "annotations": annotations}, "data": data}},
            "suspend": suspended,
        },
    });
    (name, manifest)
}

/// Waits until so many credentials are as the metric says.
async fn until_counted(stage: &Stage, line: &str, count: usize) {
    wait::until("all to be looked at", LIMIT, async || {
        let (_, metrics) = stage.operator.page("/metrics").await;
        let found = metrics.lines().find_map(|it| it.strip_prefix(line)).map(|it| it.trim().to_owned());
        if found == Some(count.to_string()) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test]
#[ignore = "prints figures: make figures runs it"]
async fn what_a_thousand_of_the_worst_credentials_cost() {
    let credentials = parameter("WORST", 1_000);
    let mut stage = Stage::start("worst", issuer(HOUR)).await;
    let empty = mebibytes(&stage.operator, "VmHWM");
    for number in 0..32 {
        let map =
            json!({"metadata": {"name": format!("bundle-{number}")}, "data": {"ca.crt": bundle(number)}});
        let maps: Api<ConfigMap> = stage.namespace.api();
        maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
    }
    for number in 0..credentials {
        let user = format!("{number}{}", "u".repeat(1_000));
        let password = "p".repeat(4096);
        stage.issuer.set_user(&User::new(&user, &password));
        // One in ten may be large for what else it holds: it is read whole.
        let padding = "x".repeat(if number % 10 == 0 { parameter("PADDING", 0) } else { 0 });
        let keys =
            [("username", user.as_bytes()), ("password", password.as_bytes()), ("other", padding.as_bytes())];
        stage.write_secret(&format!("login-{number}"), &keys).await;
        let (name, manifest) = worst(number, number % 4 == 3);
        let parameters = PatchParams::apply("owner").force();
        stage.credentials().patch(&name, &parameters, &Patch::Apply(manifest)).await.unwrap();
    }
    let ready = r#"idissuer_credentials{condition="Ready",status="True"}"#;
    until_counted(&stage, ready, credentials - credentials / 4).await;
    let (now, most) = (mebibytes(&stage.operator, "VmRSS"), mebibytes(&stage.operator, "VmHWM"));
    stage.restart_operator().await;
    until_counted(&stage, ready, credentials - credentials / 4).await;
    let (after, most_after) = (mebibytes(&stage.operator, "VmRSS"), mebibytes(&stage.operator, "VmHWM"));

    eprintln!("\n{credentials} of the largest credentials that are legal, a quarter of them suspended");
    eprintln!("  memory of an idle operator, MiB     {empty:.0}");
    eprintln!(
        "  beside that, once all are served    {:.0} at rest, {:.0} at most",
        now - empty,
        most - empty
    );
    eprintln!(
        "  after a restart                     {:.0} at rest, {:.0} at most",
        after - empty,
        most_after - empty
    );
    assert!(most.max(most_after) - empty <= 64.0, "a thousand may cost 64 MiB");
}

/// As many writes as a rotation makes, by so many clients at once, as fast as the API server takes them.
async fn own_pace(stage: &Stage, followers: usize) -> Duration {
    let (secrets, credentials) = (stage.secrets(), stage.credentials());
    let parameters = PatchParams::apply("idissuer-tests").force();
    let begin = Instant::now();
    let writes = (0..followers).map(|number| {
        let (secrets, credentials, parameters) = (secrets.clone(), credentials.clone(), parameters.clone());
        async move {
            let name = format!("follower-{number}");
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"token": "x".repeat(500)},
            });
            secrets.patch(&name, &parameters, &Patch::Apply(secret)).await.unwrap();
            let status = json!({"status": {"lastHandledRenewRequest": "pace"}});
            credentials.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        }
    });
    futures::stream::iter(writes).buffer_unordered(64).collect::<Vec<()>>().await;
    begin.elapsed()
}

#[tokio::test]
#[ignore = "prints figures: make figures runs it"]
async fn what_a_rotation_costs_for_a_thousand_followers() {
    let followers = parameter("FOLLOWERS", 1_000);
    let mut stage = Stage::start_with("figures-sharing", issuer(HOUR), |operator, _| {
        operator.arguments.push(format!("--max-credentials-per-namespace={}", followers + 1));
    })
    .await;
    stage.apply(json!({})).await;
    let owner = stage.ready().await;
    for number in 0..followers {
        stage.apply_as(&format!("follower-{number}"), json!({"credentialRef": {"name": NAME}})).await;
    }
    until_ready(&stage, followers + 1).await;
    // Before, the token is new enough to answer the request.
    let minute_old = token_status(&owner).issued_time.0 + jiff::SignedDuration::from_secs(61);
    wait::until("a token of a minute", LIMIT, async || now() > minute_old).await;
    let mark = stage.mark().await;
    stage.request_renewal("now").await;
    stage.issuer.wait_for(|counts| counts.total().refreshes_accepted == 1).await;
    let answered = now();
    let requests_since = || stage.control_plane.audit().of_user_since(&stage.operator.user, mark).unwrap();
    wait::until("a write of each Secret", LIMIT, async || {
        requests_since().iter().filter(|it| it.resource == "secrets").count() > followers
    })
    .await;
    stage.settle().await;
    let requests = requests_since();
    let last = |resource: &str| {
        let writes =
            requests.iter().filter(|it| matches!(&*it.verb, "patch" | "update") && it.resource == resource);
        writes.map(|it| it.timestamp.duration_since(answered).as_secs_f64()).fold(0.0, f64::max)
    };
    let total: usize = stage.requests_since(mark).values().sum();
    let number = |number: usize| f64::from(u32::try_from(number).unwrap());
    let per_follower = number(total) / number(followers + 1);
    stage.operator.stop().await;
    let pace = own_pace(&stage, followers).await;

    eprintln!("\na rotation for {followers} followers");
    eprintln!("  issuer calls                          {}", stage.issuer_calls() - 1);
    eprintln!("  requests for each follower            {per_follower:.2}");
    eprintln!("  last Secret after the answer, seconds {:.1}", last("secrets"));
    eprintln!("  last status after the answer, seconds {:.1}", last("idissuercredentials"));
    eprintln!("  as many writes by 64 clients, seconds {:.1}", pace.as_secs_f64());
}
