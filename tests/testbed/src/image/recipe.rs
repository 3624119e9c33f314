//! As much of a Containerfile as needs no container engine: its stages from scratch, which copy and describe.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Image;
use crate::error::{Error, Result};

/// What a `COPY` may name as its source: the stage that builds. This machine stands for it.
const BUILD: &str = "--from=build";
/// Where that stage has the sources of the project.
const SOURCES: &str = "/source/";
/// The argument that says when an image was made, as seconds since 1970. Container engines know it too.
const CREATED: &str = "SOURCE_DATE_EPOCH";
/// The argument that says for which machines an image is. Container engines know it too.
const ARCHITECTURE: &str = "TARGETARCH";

/// A Containerfile, read.
#[derive(Clone, Debug)]
pub struct Recipe {
    path: PathBuf,
    stages: Vec<Stage>,
}

#[derive(Clone, Debug)]
struct Stage {
    name: String,
    base: String,
    instructions: Vec<String>,
}

impl Recipe {
    /// Reads a Containerfile.
    ///
    /// # Errors
    /// When it cannot be read, or a stage has no name.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::file("read", path))?;
        let mut recipe = Self { path: path.to_owned(), stages: Vec::new() };
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        for instruction in lines.join("\n").replace("\\\n", "").lines().filter(|line| !line.is_empty()) {
            match (instruction.split_whitespace().collect::<Vec<_>>().as_slice(), recipe.stages.last_mut()) {
                (["FROM", base, "AS", name], _) => {
                    let (name, base) = ((*name).to_owned(), (*base).to_owned());
                    recipe.stages.push(Stage { name, base, instructions: Vec::new() });
                }
                (["FROM", ..], _) | (_, None) => return Err(recipe.defect(instruction)),
                (_, Some(stage)) => stage.instructions.push(instruction.to_owned()),
            }
        }
        Ok(recipe)
    }

    /// The names of the stages that are images without a builder, from scratch.
    #[must_use]
    pub fn images(&self) -> Vec<&str> {
        let is_base = |stage: &&Stage| !self.stages.iter().any(|other| other.base == stage.name);
        let images = self.stages.iter().filter(|stage| self.lineage(&stage.name).is_some()).filter(is_base);
        images.map(|stage| stage.name.as_str()).collect()
    }

    /// Makes the image of a stage. What it copies from the folder of the sources in the stage that builds is taken from
    /// `sources`, and everything else from this machine.
    ///
    /// # Errors
    /// When the stage is not from scratch, does something else than to copy and describe, or needs another argument.
    pub fn image(&self, stage: &str, sources: &Path, arguments: &BTreeMap<String, String>) -> Result<Image> {
        let lineage = self.lineage(stage).ok_or_else(|| self.defect(&format!("FROM scratch AS {stage}")))?;
        let mut image = Image::default();
        for instruction in lineage.iter().flat_map(|stage| &stage.instructions) {
            image = self.follow(image, instruction, sources, arguments)?;
        }
        if let Some(architecture) = arguments.get(ARCHITECTURE) {
            image = image.architecture(architecture);
        }
        match arguments.get(CREATED) {
            None => Ok(image),
            Some(seconds) => {
                let created = seconds.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
                created.map(|created| image.created(created)).ok_or_else(|| self.defect(CREATED))
            }
        }
    }

    /// A stage and what it builds upon, the first of them from scratch.
    fn lineage(&self, name: &str) -> Option<Vec<&Stage>> {
        // A stage builds upon one before it only, so this ends.
        let at = self.stages.iter().position(|stage| stage.name == name)?;
        let mut lineage = vec![&self.stages[at]];
        for stage in self.stages[..at].iter().rev() {
            if stage.name == lineage[0].base {
                lineage.insert(0, stage);
            }
        }
        (lineage[0].base == "scratch").then_some(lineage)
    }

    fn follow(
        &self,
        image: Image,
        instruction: &str,
        sources: &Path,
        arguments: &BTreeMap<String, String>,
    ) -> Result<Image> {
        let defect = || self.defect(instruction);
        let text = arguments
            .iter()
            .fold(instruction.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value));
        let (word, rest) = text.split_once(' ').filter(|_| !text.contains('$')).ok_or_else(defect)?;
        match (word, rest.split_whitespace().collect::<Vec<_>>().as_slice()) {
            ("ARG", _) => Ok(image),
            ("USER", [user]) => Ok(image.user(user)),
            ("ENTRYPOINT", _) => {
                Ok(image.entrypoint(serde_json::from_str::<Vec<String>>(rest).map_err(|_| defect())?))
            }
            ("ENV", [variable]) => {
                let (name, value) = variable.split_once('=').ok_or_else(defect)?;
                Ok(image.variable(name, value))
            }
            ("LABEL", _) => {
                let (name, value) = rest.split_once('=').ok_or_else(defect)?;
                let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                Ok(image.label(name, value.ok_or_else(defect)?))
            }
            ("COPY", [BUILD, source, place]) => {
                let below = source.strip_prefix(SOURCES).map(|below| sources.join(below));
                Ok(image.file(place, &below.unwrap_or_else(|| PathBuf::from(source))))
            }
            _ => Err(defect()),
        }
    }

    fn defect(&self, instruction: &str) -> Error {
        Error::Recipe { path: self.path.clone(), instruction: instruction.to_owned() }
    }
}
