//! `kubectl idissuer explain` and the commands that make and check things, as people with all rights, few and none.

use std::collections::BTreeSet;

use idissuer_testbed::wait;
use serde_json::{Value, json};

use crate::operator::{HOUR, LIMIT, NAME, PASSWORD, Stage, USER, issuer, text, token_status};
use crate::plugin::{CREDENTIALS, Person, apply_pod};

/// The causes that `explain` finds, with their severities.
async fn findings(person: &Person) -> Vec<(String, String, Vec<String>)> {
    let found = person.run(&["explain", NAME, "-o", "json"]).await.json();
    let of = |finding: &Value| {
        let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        let commands = finding["commands"].as_array().into_iter().flatten();
        (text("severity"), text("cause"), commands.map(|it| it.as_str().unwrap().to_owned()).collect())
    };
    found["findings"].as_array().unwrap().iter().map(of).collect()
}

/// A Deployment that asks for the sidecar where nobody looks.
const MISPLACED: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: reports, annotations: {idissuer.pl/inject-secret: billing}}
spec:
  replicas: 0
  selector: {matchLabels: {app: reports}}
  template:
    metadata: {labels: {app: reports}}
    spec: {containers: [{name: main, image: example.org/reports}]}
";

/// A pod that asks for it with a slip.
const MISSPELLED: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: misspelled, annotations: {idissuer.pl/injekt-secret: billing}}
spec:
  automountServiceAccountToken: false
  containers: [{name: main, image: example.org/reports}]
";

/// The words of a command of the plugin, without the namespace, which is that of the person.
fn pasted(command: &str) -> Vec<&str> {
    let (words, _) = command.strip_prefix("kubectl idissuer ").unwrap().split_once(" -n ").unwrap();
    words.split(' ').collect()
}

/// Event, condition, and `explain` name the page of this reason.
async fn leads_to_the_runbook(stage: &Stage, person: &Person, reason: &str) {
    let page = format!("{}/runbooks/{reason}.html", env!("CARGO_PKG_HOMEPAGE"));
    let message = stage.until_condition("Stalled", "True", reason).await;
    assert!(message.ends_with(&format!(". See {page}")), "{message}");
    wait::until("an Event that names its page", LIMIT, async || {
        let detail = person.run(&["status", NAME, "-o", "json"]).await.json();
        let mut events = detail["events"].as_array().into_iter().flatten();
        let notes = events.find(|event| event["reason"] == reason).map(|event| event["note"].clone());
        let is_led = notes.as_ref().and_then(Value::as_str).is_some_and(|note| note.ends_with(&page));
        if is_led { Ok(()) } else { Err(detail["events"].to_string()) }
    })
    .await;
    let found = person.run(&["explain", NAME, "-o", "json"]).await.json();
    let finding = &found["findings"][0];
    assert_eq!(finding["page"], json!(page), "{finding}");
    assert!(!finding["cause"].as_str().unwrap().contains(&page), "once is enough: {finding}");
}

#[tokio::test]
async fn explain_names_cause_evidence_and_a_command_that_cures() {
    let mut stage = Stage::start_with("plugin-explain", issuer(HOUR), |operator, _| {
        let namespace = operator.arguments[2].clone();
        operator.arguments.extend(["--leader-elect".into(), "--lease-namespace".into(), namespace]);
    })
    .await;
    let (admin, few) = (Person::administrator(&stage), Person::nobody(&stage, "few"));
    admin.run(&["explain", NAME]).await.assert(5, &["check name and namespace"]);
    few.run(&["explain", NAME]).await.assert(4, &["with the verb get on idissuercredentials.idissuer.pl"]);
    stage.apply(json!({})).await;
    stage.ready().await;
    admin.run(&["explain", NAME]).await.assert(0, &["Nothing is wrong that can be seen from here."]);
    few.allow(&stage, &format!("[{{{CREDENTIALS}, verbs: [get]}}]"), &["explain", NAME]).await;
    let parts = [
        "Nothing is wrong",
        "Not read: this user may not list pods",
        "Not read: this user may not get secrets",
    ];
    few.run(&["explain", NAME]).await.assert(0, &parts);

    apply_pod(&stage).await;
    let parts = [
        "Warning",
        "pod reports, container main: in the environment",
        "kubectl delete pod reports -n plugin-",
    ];
    admin.run(&["explain", NAME]).await.assert(0, &parts);

    stage.namespace.kubectl().apply(MISPLACED).await.unwrap();
    stage.namespace.kubectl().apply(MISSPELLED).await.unwrap();
    let parts = [
        "Annotations of injection are on the wrong object",
        "idissuer.pl/inject-secret in metadata.annotations of deployment reports",
        "Pods have an annotation of injection that nobody understands",
        "pod misspelled: idissuer.pl/injekt-secret, which should be idissuer.pl/inject-secret",
    ];
    admin.run(&["explain", NAME]).await.assert(0, &parts);
    admin.run(&["check"]).await.assert_has("warning  Injection: ");
    admin.run(&["check"]).await.assert_has(&format!("Leader: Lease {}/", stage.namespace.name()));

    // A wrong password, which the command cures.
    stage.write_login(USER, "mistyped").await;
    stage.until_condition("LoginAccepted", "False", "LoginRejected").await;
    let found = findings(&admin).await;
    let (severity, cause, commands) = &found[0];
    assert_eq!((severity.as_str(), cause.starts_with("LoginRejected: ")), ("Warning", true), "{found:?}");
    assert!(cause.contains(&stage.issuer.url()), "the issuer may be the wrong one: {cause}");
    admin.run(&["status"]).await.assert(0, &["TokenPublished (LoginRejected)"]);
    leads_to_the_runbook(&stage, &admin, "LoginRejected").await;
    let command = commands[0].replace("USER", USER);
    let words = [&pasted(&command)[..], &["--password-stdin"]].concat();
    admin.run_with_input(&words, &format!("{PASSWORD}\n")).await.assert(0, &["replaced"]);
    stage.until_condition("LoginAccepted", "True", "LoginAccepted").await;

    admin.run(&["suspend", NAME]).await.assert(0, &[]);
    let found = findings(&admin).await;
    assert!(found[0].1.starts_with("It is suspended"), "{found:?}");
    admin.run(&pasted(&found[0].2[0])).await.assert(0, &["resumed"]);

    // A new one that nobody works on.
    stage.operator.stop().await;
    admin
        .run(&["explain", NAME])
        .await
        .assert(3, &["nobody leads", "nobody holds it", "kubectl get pods -n plugin-"]);
    stage.apply_as("new", json!({})).await;
    admin.run(&["explain", "new"]).await.assert(3, &["It has no status", "kubectl idissuer check"]);
}

#[tokio::test]
async fn a_credential_is_made_from_nothing_verified_and_revealed() {
    let stage = Stage::start("plugin-create", issuer(HOUR)).await;
    let (admin, few, none) =
        (Person::administrator(&stage), Person::nobody(&stage, "few"), Person::nobody(&stage, "none"));
    let create = ["login-secret", "create", "typed", "--username", USER, "--password-stdin"];
    none.run_with_input(&create, PASSWORD).await.assert(4, &["with the verb create on secrets"]);
    admin.run_with_input(&create, "\u{feff}x").await.assert(2, &["byte order mark", "was not stored"]);
    admin.run_with_input(&create, PASSWORD).await.assert(0, &["created", "Next: kubectl idissuer create"]);
    let again = admin.run_with_input(&create, PASSWORD).await;
    again.assert(1, &["exists; add --replace"]);
    assert!(!again.out.contains(PASSWORD) && !again.errors.contains(PASSWORD));
    let missing = ["login-secret", "create", "missing", "--username", USER, "--password-stdin", "--replace"];
    admin.run_with_input(&missing, PASSWORD).await.assert(5, &["does not exist"]);

    let manifest = none.run(&["create", NAME, "--login-secret", "typed"]).await;
    manifest.assert(0, &["kind: IdIssuerCredential"]);
    stage.namespace.kubectl().apply(&manifest.out).await.unwrap();
    let ready = stage.ready().await;
    let apply = ["create", "other", "--login-secret", "missing", "--key", "a={{ token }}", "--apply"];
    none.run(&apply).await.assert(4, &["with the verb patch on idissuercredentials.idissuer.pl"]);
    let parts =
        ["other: created", "Secret missing does not exist yet: kubectl idissuer login-secret create missing"];
    admin.run(&apply).await.assert(3, &parts);
    admin
        .run(&["create", "bad", "--login-secret", "bad", "--secret", "bad", "--apply"])
        .await
        .assert(1, &["rejects"]);

    let token = text(&stage.target_until("a token", |_| true).await, "token");
    let verified = admin.run(&["verify", NAME]).await;
    verified.assert(0, &["holds the token of the status", "valid until", &token_status(&ready).fingerprint]);
    assert!(!verified.out.contains(&token), "no token is shown");
    let url = format!("{}/v2/authorized?hush=hush", stage.issuer.url());
    let accepted = admin.run(&["verify", NAME, "--url", &url]).await;
    accepted.assert(0, &["accepts the token (status 200)"]);
    assert!(!accepted.out.contains("hush"));
    stage.issuer.revoke(USER);
    admin.run(&["verify", NAME, "--url", &url]).await.assert(3, &["refuses the token (status 401)"]);
    admin.run(&["verify", NAME, "--url", "http://127.0.0.1:1/"]).await.assert(6, &["present the token to"]);
    admin.run(&["verify", "missing"]).await.assert(5, &["check name and namespace"]);
    few.allow(&stage, &format!("[{{{CREDENTIALS}, verbs: [get]}}]"), &["status", NAME]).await;
    few.run(&["verify", NAME]).await.assert(4, &["get on secrets, resourceNames [billing]"]);
    admin.run(&["token", NAME]).await.assert(2, &["add --reveal"]);
    let revealed = admin.run(&["token", NAME, "--reveal"]).await;
    assert_eq!((revealed.code, revealed.out.trim_end()), (0, token.as_str()));
    few.run(&["token", NAME, "--reveal"]).await.assert(4, &["get on secrets"]);
}

#[tokio::test]
async fn the_installation_is_checked_as_far_as_rights_allow() {
    let stage = Stage::start("plugin-check", issuer(HOUR)).await;
    let (admin, none) = (Person::administrator(&stage), Person::nobody(&stage, "none"));
    let place = ["--operator-namespace", stage.namespace.name()];
    let run = async |person: &Person, words: &[&str]| person.run(&[words, &place[..]].concat()).await;
    admin.run(&["check", "--pre"]).await.assert(0, &["ok       Kubernetes: v1", "all 8 rights are there"]);
    none.run(&["check", "--pre"])
        .await
        .assert(3, &["missing: create customresourcedefinitions.apiextensions.k8s.io"]);
    let parts =
        ["FAIL     Operator: no pod of the operator is found", "ok       CRD: the one of this program"];
    run(&admin, &["check"]).await.assert(3, &parts);
    run(&none, &["check"])
        .await
        .assert(0, &["unknown  CRD: this user may not get", "unknown  Credentials: "]);
    run(&admin, &["check", "--wait", "--timeout-seconds", "1"]).await.assert(124, &["FAIL"]);
    run(&admin, &["version"]).await.assert(0, &["no pod found", "CRD        the one of this program"]);
    none.run(&["version", "--client"]).await.assert(0, &[env!("CARGO_PKG_VERSION")]);
    run(&none, &["version"]).await.assert(0, &["Operator   not shown: this user may not list pods"]);
    run(&admin, &["logs"]).await.assert(5, &["--operator-namespace"]);
    run(&none, &["logs"]).await.assert(4, &["with the verb list on pods"]);

    // An older operator, whose ServiceAccount has no rights.
    let yaml = r"
apiVersion: v1
kind: Pod
metadata:
  name: operator
  labels: {app.kubernetes.io/name: idissuer-operator, app.kubernetes.io/version: 0.0.1}
spec:
  automountServiceAccountToken: false
  containers:
    - {name: controller, image: 'example.org/idissuer:0.0.1', args: [controller, --leader-elect, --lease-name=its]}
";
    wait::until("the namespace's service account", LIMIT, async || {
        stage.namespace.kubectl().apply(yaml).await.map(drop)
    })
    .await;
    let parts = [
        "FAIL     Operator: 0 of 1 pods ready",
        "warning  Version: the operator is 0.0.1, this plugin",
        "FAIL     Operator's rights: missing: get idissuercredentials.idissuer.pl",
        "update idissuercredentials.idissuer.pl/status, ",
        "patch leases.coordination.k8s.io its in plugin-check",
        "warning  Metrics: nothing shows that anybody scrapes the operator",
        concat!("page: ", env!("CARGO_PKG_HOMEPAGE"), "/reference/alerts.html"),
    ];
    run(&admin, &["check"]).await.assert(3, &parts);
    run(&admin, &["version"]).await.assert(0, &["0.0.1", "Use the plugin of the operator's version."]);
}

#[tokio::test]
async fn a_report_holds_no_secret_and_completion_knows_the_names() {
    let stage = Stage::start("plugin-report", issuer(HOUR)).await;
    let (admin, none) = (Person::administrator(&stage), Person::nobody(&stage, "none"));
    stage.apply(json!({"target": {"template": {"data": {"a": "hush {{ token }}"}}}})).await;
    stage.ready().await;
    let token = text(&stage.target_until("a token", |_| true).await, "a");
    let folder = stage.control_plane.folder().path().join("report.tar.gz");
    let file = folder.to_str().unwrap();
    let run = admin.run(&["report", "--file", file, "--operator-namespace", stage.namespace.name()]).await;
    run.assert(0, &["no value of a Secret is in it", "no pod of the operator is found"]);
    let archive = flate2::read::GzDecoder::new(std::fs::File::open(&folder).unwrap());
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::BufReader::new(archive), &mut text).unwrap();
    for part in
        ["credentials/billing.yaml", "secrets/billing.yaml", "secrets/billing-login.yaml", "TokenPublished"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    for secret in [PASSWORD, "hush", token.strip_prefix("hush ").unwrap()] {
        assert!(!text.contains(secret), "{secret}");
    }
    none.run(&["report", "--file", file])
        .await
        .assert(0, &["Left out: this user may not list idissuercredentials"]);

    let choices = async |words: &[&str]| {
        let mut line = vec!["-n", stage.namespace.name()];
        line.extend(words);
        let run = admin.complete(&line).await;
        run.assert(0, &[":4"]);
        let names = run.out.lines().map(|line| line.split('\t').next().unwrap().to_owned());
        names.collect::<BTreeSet<_>>()
    };
    assert!(choices(&["status", "bi"]).await.contains(NAME));
    assert!(choices(&["ex"]).await.contains("explain"));
    assert!(!choices(&["ex"]).await.contains("status"));
    none.complete(&["status", ""]).await.assert(0, &[":4"]);
}
