//! What is in an image.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

use super::digest;
use crate::error::{Error, Result};
use crate::process::WorkFolder;

/// Unpacks the image of an OCI archive into a folder, which then is what a container of it sees. Returns its
/// configuration.
///
/// # Errors
/// When it is no such archive, or a part of it is not what its digest says.
pub fn unpack(archive: &Path, folder: &Path) -> Result<Value> {
    let blobs = WorkFolder::create()?;
    let tar = File::open(archive).map_err(Error::file("read", archive))?;
    extract(BufReader::new(tar), blobs.path())?;
    let part = |described: &Value| part(blobs.path(), described, archive);
    let json = |bytes: Vec<u8>| {
        let value = serde_json::from_slice::<Value>(&bytes).map_err(std::io::Error::from);
        value.map_err(Error::file("understand", archive))
    };
    let index =
        fs::read(blobs.path().join("index.json")).map_err(Error::file("read the index of", archive))?;
    let manifest = json(part(&json(index)?["manifests"][0])?)?;
    let configuration = json(part(&manifest["config"])?)?;
    for layer in manifest["layers"].as_array().into_iter().flatten() {
        extract(GzDecoder::new(part(layer)?.as_slice()), folder)?;
    }
    Ok(configuration)
}

/// A part of the image, as another part refers to it.
fn part(blobs: &Path, described: &Value, archive: &Path) -> Result<Vec<u8>> {
    let named = described["digest"].as_str().unwrap_or_default();
    let path = blobs.join("blobs").join(named.replace(':', "/"));
    let bytes = fs::read(path).map_err(Error::file("read a part of", archive))?;
    if digest(&bytes) == named {
        return Ok(bytes);
    }
    let wrong = std::io::Error::other(format!("{named} has other content"));
    Err(Error::file("trust", archive)(wrong))
}

fn extract(archive: impl Read, folder: &Path) -> Result<()> {
    tar::Archive::new(archive).unpack(folder).map_err(Error::file("unpack into", folder))
}
