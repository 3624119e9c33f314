//! Images and what they are made of. That containerd takes them is seen where there is a node.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use idissuer_testbed::process::WorkFolder;
use idissuer_testbed::{Image, Recipe, bill_of_materials, unpack};
use serde_json::{Value, json};

const CONTAINERFILE: &str = r#"
# Nothing of this stage is carried out.
FROM debian AS build
RUN something \
 && something else

FROM scratch AS common
ARG VERSION
LABEL com.example.version="$VERSION"
USER 1000:1000

FROM common AS other
ENTRYPOINT ["/other"]

FROM common AS program
COPY --from=build /source/out/program /bin/program
LABEL com.example.title="A program"
ENTRYPOINT ["/bin/program", "--run"]
"#;

fn write(folder: &WorkFolder, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn arguments() -> BTreeMap<String, String> {
    BTreeMap::from([("VERSION", "1.2"), ("SOURCE_DATE_EPOCH", "86400")].map(|(a, b)| (a.into(), b.into())))
}

#[test]
fn the_same_files_make_the_same_archive_wherever_and_whenever() {
    let archives = [1, 2].map(|day| {
        let folder = WorkFolder::create().unwrap();
        let program = write(&folder, "program", "a program");
        let time = UNIX_EPOCH + Duration::from_secs(day * 86400);
        fs::File::options().write(true).open(&program).unwrap().set_modified(time).unwrap();
        let archive = folder.path().join("archive.tar");
        Image::of_program(&program).label("a", "b").variable("C", "d").write(&archive).unwrap();
        fs::read(archive).unwrap()
    });
    assert!(archives[0] == archives[1] && !archives[0].is_empty());
}

#[test]
fn an_image_is_what_the_last_stages_of_its_containerfile_say() {
    let folder = WorkFolder::create().unwrap();
    write(&folder, "out/program", "a program");
    let recipe = Recipe::read(&write(&folder, "Containerfile", CONTAINERFILE)).unwrap();
    assert_eq!(recipe.images(), ["other", "program"]);
    let archive = folder.path().join("archive.tar");
    recipe.image("program", folder.path(), &arguments()).unwrap().write(&archive).unwrap();

    let root = WorkFolder::create().unwrap();
    let configuration = unpack(&archive, root.path()).unwrap();
    let config = json!({
        "User": "1000:1000",
        "Entrypoint": ["/bin/program", "--run"],
        "Env": [],
        "Labels": {"com.example.title": "A program", "com.example.version": "1.2"},
    });
    assert_eq!(configuration["config"], config);
    assert_eq!(configuration["created"], "1970-01-02T00:00:00Z");
    assert_eq!(fs::read_to_string(root.path().join("bin/program")).unwrap(), "a program");
}

#[test]
fn an_image_for_other_machines_says_so_in_its_index_and_in_its_configuration() {
    let folder = WorkFolder::create().unwrap();
    write(&folder, "out/program", "a program");
    let recipe = Recipe::read(&write(&folder, "Containerfile", CONTAINERFILE)).unwrap();
    let archive = folder.path().join("archive.tar");
    let mut arguments = arguments();
    arguments.insert("TARGETARCH".into(), "riscv64".into());
    recipe.image("program", folder.path(), &arguments).unwrap().write(&archive).unwrap();
    let bytes = fs::read(&archive).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes).matches(r#""architecture":"riscv64""#).count(), 2);
}

#[test]
fn what_needs_a_container_engine_or_an_argument_is_refused_by_name() {
    let folder = WorkFolder::create().unwrap();
    let refused = |text: &str, stage: &str, arguments: &BTreeMap<String, String>| {
        let recipe = Recipe::read(&write(&folder, "Containerfile", text));
        recipe.and_then(|recipe| recipe.image(stage, folder.path(), arguments)).unwrap_err().to_string()
    };
    let added = |line: &str| format!("{CONTAINERFILE}{line}\n");
    for line in
        ["RUN true", "COPY file /file", "COPY --from=other /a /b", "USER", "ENTRYPOINT run", "LABEL a"]
    {
        let error = refused(&added(line), "program", &arguments());
        assert!(error.contains(&format!("`{line}`")), "{line}: {error}");
    }
    assert!(refused(CONTAINERFILE, "program", &BTreeMap::new()).contains("$VERSION"));
    assert!(refused(CONTAINERFILE, "build", &arguments()).contains("build"));
    assert!(refused(CONTAINERFILE, "unknown", &arguments()).contains("unknown"));
    assert!(refused("FROM scratch\n", "program", &arguments()).contains("FROM scratch"));
    let mut late = arguments();
    late.insert("SOURCE_DATE_EPOCH".into(), "yesterday".into());
    assert!(refused(CONTAINERFILE, "program", &late).contains("SOURCE_DATE_EPOCH"));
}

#[test]
fn an_archive_whose_content_was_changed_is_not_unpacked() {
    let folder = WorkFolder::create().unwrap();
    let program = write(&folder, "program", "a program");
    let archive = folder.path().join("archive.tar");
    Image::of_program(&program).entrypoint(["/program"]).write(&archive).unwrap();
    let mut bytes = fs::read(&archive).unwrap();
    let at = bytes.windows(10).position(|part| part == br#"["/program"#).unwrap();
    bytes[at + 3] = b'q';
    fs::write(&archive, bytes).unwrap();
    let error = unpack(&archive, folder.path()).unwrap_err();
    assert!(error.to_string().contains("cannot trust"), "{error}");
}

fn references(components: &Value) -> Vec<&str> {
    components.as_array().unwrap().iter().map(|component| component["bom-ref"].as_str().unwrap()).collect()
}

#[test]
fn the_bill_of_materials_names_each_linked_crate_with_its_checksum_and_nothing_of_tests() {
    let ours = ["rustls", "aws-lc-sys", "kube-client"];
    assert_materials("idissuer", &ours, &["idissuer-simulator", "rcgen"]);
    assert_materials("idissuer-simulator", &["rustls", "aws-lc-sys", "rcgen"], &["idissuer", "kube-client"]);
}

fn assert_materials(program: &str, linked: &[&str], unlinked: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let bill = bill_of_materials(&root, program).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&json!("CycloneDX"), &json!("1.6")));
    assert_eq!(bill["metadata"]["component"]["name"], program);

    for component in bill["components"].as_array().unwrap() {
        let text = |name: &str| component[name].as_str().unwrap();
        assert_eq!(text("type"), "library");
        assert!(!text("version").is_empty() && text("purl") == text("bom-ref"), "{component}");
        let licence = component["licenses"][0]["expression"].as_str().unwrap();
        assert!(!licence.is_empty() && !licence.contains('/'), "{component}");
        if text("purl").starts_with("pkg:cargo/") {
            let checksum = component["hashes"][0]["content"].as_str().unwrap();
            assert!(checksum.len() == 64 && checksum.chars().all(|c| c.is_ascii_hexdigit()), "{component}");
        }
    }

    let references = references(&bill["components"]);
    let has = |name: &str| references.iter().any(|found| found.starts_with(&format!("pkg:cargo/{name}@")));
    let of_tests = ["proptest", "idissuer-testbed", "serde_derive", "cc"];
    let found: Vec<_> = of_tests.iter().chain(unlinked).filter(|name| has(name)).collect();
    assert!(found.is_empty(), "{program}: {found:?}");
    let missing: Vec<_> = linked.iter().filter(|name| !has(name)).collect();
    assert!(missing.is_empty(), "{program}: {missing:?}");
    let known: BTreeSet<_> =
        references.iter().copied().chain(bill["metadata"]["component"]["bom-ref"].as_str()).collect();
    assert_eq!(known.len(), references.len() + 1, "each once");
    for dependency in bill["dependencies"].as_array().unwrap() {
        let mut named: Vec<_> =
            dependency["dependsOn"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        named.extend(dependency["ref"].as_str());
        assert!(named.iter().all(|name| known.contains(name)), "{dependency}");
    }
}
