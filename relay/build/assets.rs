//! Collects the page's files, compresses each content once, and generates the table that the relay includes.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use brotli::enc::BrotliEncoderParams;
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

use crate::{
    comments::{Language, without_comments},
    progress::report_progress,
};

/// Brotli's highest quality, in every Cargo profile: measurements then apply to what is served.
const BROTLI_QUALITY: i32 = 11;
/// Base-2 logarithm of Brotli's window size in bytes: 4 MiB, larger than every file of the page.
const BROTLI_WINDOW: i32 = 22;
/// Minimum size, in bytes, from which compression takes long enough to be reported.
const REPORTED_LEN: usize = 256 * 1024;

/// The page, and the prefix with which it names its files. It stands for the version, which the build fills in, so that
/// a page never loads a file of another version: `v/dev/index.js` becomes `v/<version>/index.js`. The modules import each
/// other by relative paths, so they need no change.
const PAGE: (&str, &str) = ("index.html", "v/dev/");
/// The service worker, which caches the page. The build prepends the list of files to it.
const SERVICE_WORKER: &str = "service-worker.js";
/// Hex digits of a version: 64 bits of a digest, enough to distinguish builds.
const VERSION_DIGITS: usize = 16;
/// Extension of files that the page never loads.
const NOT_CACHED: &str = ".d.ts";

/// The page's files: the path in the page, and the file on disk.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<String, PathBuf>);

impl Files {
    pub(crate) fn add(&mut self, path: &str, file: PathBuf) {
        self.0.insert(path.to_owned(), file);
    }

    /// Adds everything below `folder`, under `prefix`.
    pub(crate) fn add_folder(&mut self, prefix: &str, folder: &Path) -> Result<()> {
        self.add_folder_except(prefix, folder, "")
    }

    /// Like [`Files::add_folder`], but skips the entry of `folder` with the name `except`.
    pub(crate) fn add_folder_except(
        &mut self,
        prefix: &str,
        folder: &Path,
        except: &str,
    ) -> Result<()> {
        let entries =
            fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|name: OsString| {
                anyhow::anyhow!("{} is not valid UTF-8", name.display())
            })?;
            // Hidden files belong to editors and the system.
            if name == except || name.starts_with('.') {
                continue;
            }
            let path = match prefix {
                "" => name,
                prefix => format!("{prefix}/{name}"),
            };
            if entry.file_type()?.is_dir() {
                self.add_folder(&path, &entry.path())?;
            } else {
                self.0.insert(path, entry.path());
            }
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Result<String> {
        let file = self
            .0
            .get(path)
            .with_context(|| format!("the page has no {path}"))?;
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
    }

    /// Writes a file with `content` below `out`, and replaces the file at `path` with it.
    fn put(&mut self, out: &Path, path: &str, content: &str) -> Result<()> {
        let file = out.join(path);
        fs::create_dir_all(file.parent().context("the path has no parent folder")?)?;
        fs::write(&file, content)?;
        self.add(path, file);
        Ok(())
    }

    /// Replaces scripts and style sheets by copies without comments, written to `out`.
    pub(crate) fn remove_comments(&mut self, out: &Path) -> Result<()> {
        let paths: Vec<String> = self.0.keys().cloned().collect();
        for path in paths {
            if let Some(language) = Language::of(&path)
                && let Some(code) = without_comments(&self.read(&path)?, language)
            {
                self.put(out, &path, &code)?;
            }
        }
        Ok(())
    }

    /// The version of this build: a digest of all files that the page can load, including the service worker. Every
    /// changed file results in another version.
    pub(crate) fn version(&self) -> Result<String> {
        let mut files = String::new();
        for (path, file) in &self.0 {
            if !path.ends_with(NOT_CACHED) {
                writeln!(files, "{path} {}", digest_of(file)?)?;
            }
        }
        let digest = sha256(files.as_bytes());
        Ok(digest.chars().take(VERSION_DIGITS).collect())
    }

    /// Replaces the page with a copy, written to `out`, that loads its files from the URLs of `version`.
    pub(crate) fn write_versioned_urls(&mut self, out: &Path, version: &str) -> Result<()> {
        let (page, unversioned) = PAGE;
        let html = self.read(page)?;
        ensure!(
            html.contains(unversioned),
            "{page} has no address with {unversioned}"
        );
        self.put(
            out,
            page,
            &html.replace(unversioned, &format!("v/{version}/")),
        )
    }

    /// Prepends to the service worker the list of files that it caches: the version, and the path and SHA-256 of every
    /// other file. So each version has a different service worker, which is how browsers detect an update.
    pub(crate) fn write_precache(&mut self, out: &Path, version: &str) -> Result<()> {
        if !self.0.contains_key(SERVICE_WORKER) {
            return Ok(());
        }
        let script = self.read(SERVICE_WORKER)?;
        let mut files = Vec::new();
        for (path, file) in &self.0 {
            if path == SERVICE_WORKER || path.ends_with(NOT_CACHED) {
                continue;
            }
            // File names are simple enough that Rust's string literals are valid JSON.
            files.push(format!("{path:?}:{:?}", digest_of(file)?));
        }
        let files = files.join(",");
        let script = format!(
            "const PRECACHE = {{\"version\":{version:?},\"files\":{{{files}}}}};\n{script}"
        );
        self.put(out, SERVICE_WORKER, &script)
    }

    /// Copies and compresses the files into `out`, and generates the table of assets. Compressed files of an earlier
    /// build are reused; they are stored by the hash of their content.
    ///
    /// Files longer than `max_compressed`, in bytes, are served as they are.
    pub(crate) fn embed(&self, out: &Path, version: &str, max_compressed: usize) -> Result<()> {
        let store = out.join("assets");
        fs::create_dir_all(&store)?;
        let mut used = BTreeSet::new();
        let mut table =
            format!("static VERSION: &str = {version:?};\nstatic ASSETS: &[Asset] = &[\n");
        for (path, file) in &self.0 {
            let plain =
                fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let hash = sha256(&plain);
            let forms = Forms::make(&store.join(&hash), path, &plain, max_compressed)?;
            used.extend([&forms.plain, &forms.brotli, &forms.gzip].map(Clone::clone));
            let smaller = |form: &Path| -> Result<String> {
                if form.exists() && fs::metadata(form)?.len() < fs::metadata(&forms.plain)?.len() {
                    return Ok(format!("Some(include_bytes!({form:?}))"));
                }
                Ok("None".to_owned())
            };
            writeln!(
                table,
                "Asset {{ path: {path:?}, sha256: {hash:?}, plain: include_bytes!({:?}), brotli: {}, gzip: {} }},",
                forms.plain,
                smaller(&forms.brotli)?,
                smaller(&forms.gzip)?,
            )?;
        }
        table.push_str("];\n");
        fs::write(out.join("assets.rs"), table)?;

        for entry in fs::read_dir(&store)? {
            let path = entry?.path();
            if !used.contains(&path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Paths of a file's three forms in the store.
struct Forms {
    plain: PathBuf,
    brotli: PathBuf,
    gzip: PathBuf,
}

impl Forms {
    /// Writes the forms that are missing. The compressed ones are left out if the file is too long.
    fn make(stem: &Path, path: &str, plain: &[u8], max_compressed: usize) -> Result<Self> {
        let forms = Self {
            plain: stem.to_owned(),
            brotli: stem.with_extension("br"),
            gzip: stem.with_extension("gz"),
        };
        store(&forms.plain, || Ok(plain.to_vec()))?;
        if plain.len() > max_compressed {
            return Ok(forms);
        }
        let new = !(forms.brotli.exists() && forms.gzip.exists());
        if new && plain.len() >= REPORTED_LEN {
            report_progress(&format!("compressing {path}"));
        }
        store(&forms.brotli, || brotli(plain))?;
        store(&forms.gzip, || gzip(plain))?;
        Ok(forms)
    }
}

/// Atomically writes the result of `make` to `path`, unless the file exists.
fn store(path: &Path, make: impl FnOnce() -> Result<Vec<u8>>) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let draft = path.with_extension("draft");
    fs::write(&draft, make()?)?;
    fs::rename(&draft, path)?;
    Ok(())
}

fn brotli(mut plain: &[u8]) -> Result<Vec<u8>> {
    let parameters = BrotliEncoderParams {
        quality: BROTLI_QUALITY,
        lgwin: BROTLI_WINDOW,
        size_hint: plain.len(),
        ..BrotliEncoderParams::default()
    };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut plain, &mut compressed, &parameters)?;
    Ok(compressed)
}

fn gzip(plain: &[u8]) -> Result<Vec<u8>> {
    // Without a name and time, so equal files give equal bytes.
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}

/// The SHA-256 digest of a file's content, in hex.
fn digest_of(file: &Path) -> Result<String> {
    let plain = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(sha256(&plain))
}

/// The SHA-256 digest of `bytes`, in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
