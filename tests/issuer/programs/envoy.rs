//! Envoy, which is called by a program that knows no token.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use idissuer::core::template::{CredentialName, Template, Values};
use idissuer_testbed::process::{Grace, Supervised};
use idissuer_testbed::{unpacked, wait};
use serde_json::{Value, json};
use url::Url;

use super::proxied::{Proxied, replace};
use super::{Api, Calling, LIMIT, example, follow};

struct Envoy {
    proxied: Proxied,
    /// Where it tells its state.
    admin: PathBuf,
}

impl Calling for Envoy {
    fn statuses(&self) -> Vec<u16> {
        self.proxied.statuses()
    }

    fn log(&self) -> String {
        self.proxied.log()
    }

    async fn until_known(&self, tokens: u32) {
        let client = reqwest::Client::builder().unix_socket(self.admin.clone()).build().unwrap();
        let statistic = "sds.token.update_success";
        let url = format!("http://localhost/stats?filter={statistic}");
        wait::until("Envoy has read the token", LIMIT, async || {
            let text = client.get(&url).send().await.map_err(|error| error.to_string())?;
            let text = text.text().await.map_err(|error| error.to_string())?;
            let number = text.trim().strip_prefix(&format!("{statistic}: "));
            let number = number.and_then(|number| number.parse::<u32>().ok());
            if number.is_some_and(|number| number >= tokens) { Ok(()) } else { Err(text) }
        })
        .await;
    }
}

/// The file that the credential of the example writes for a token.
pub(super) fn resource(token: &str) -> String {
    let credential = fs::read_to_string(example("envoy/credential.yaml")).unwrap();
    let credential: Value = serde_saphyr::from_str(&credential).unwrap();
    let text = credential["spec"]["target"]["template"]["data"]["sds.yaml"].as_str().unwrap();
    let name = CredentialName { namespace: "shop", name: "billing" };
    let values =
        Values { token, expires_at: None, issued_at: None, expires_in: None, credential: Some(name) };
    let data = Template::parse([("sds.yaml", text)]).unwrap().render(&values).unwrap();
    String::from_utf8(data["sds.yaml"].to_vec()).unwrap()
}

/// The configuration of the example, for the API and the mounted Secret of a test, with sockets that nobody else has.
fn write_configuration(api: &Api) {
    let stage = api.stage();
    let text = fs::read_to_string(example("envoy/envoy.yaml")).unwrap();
    let volume = api.token_file().parent().unwrap().display().to_string();
    let mut envoy: Value = serde_saphyr::from_str(&replace(&text, "/run/idissuer", &volume)).unwrap();
    let socket = |name: &str| json!({"pipe": {"path": stage.path(name)}});
    envoy["admin"] = json!({"address": socket("admin.sock")});
    envoy["static_resources"]["listeners"][0]["address"] = socket("envoy.sock");
    let cluster = &mut envoy["static_resources"]["clusters"][0];
    assert!(cluster.as_object_mut().unwrap().remove("transport_socket").is_some(), "it uses TLS");
    let origin = Url::parse(&api.origin()).unwrap();
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] =
        json!({"socket_address": {"address": origin.host_str(), "port_value": origin.port()}});
    fs::write(stage.path("envoy.json"), envoy.to_string()).unwrap();
}

fn start(api: &Api, program: &Path) -> Envoy {
    let stage = api.stage();
    let mut command = Command::new(program);
    command.arg("-c").arg(stage.path("envoy.json"));
    command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
    let process = Supervised::spawn("envoy", &command, Grace::SHORT, &stage.folder).unwrap();
    Envoy { proxied: Proxied::new(process, stage.path("envoy.sock")), admin: stage.path("admin.sock") }
}

#[tokio::test]
async fn envoy_follows_rotations() {
    let Some(program) = unpacked("envoy-1.40", "envoy/_bin/envoy") else {
        eprintln!("skipped: there is no Envoy: `make tools` gets it, where there is pip");
        return;
    };
    let api = Api::start().await;
    write_configuration(&api);
    follow(&api, &start(&api, &program)).await;
}
