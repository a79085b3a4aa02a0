//! Gathers the page's files, compresses them once, and writes the table that the relay includes.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use brotli::enc::BrotliEncoderParams;
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

use crate::{
    comments::{has_comments, without_comments},
    join::join,
    preloads::with_preloads,
    sheets,
    tell::tell,
    versions,
};

/// Brotli's best, whatever the relay's own profile: what is measured is what is served.
const BROTLI_QUALITY: i32 = 11;
/// Base-2 logarithm of Brotli's window, in bytes: 4 MiB, larger than any file of ours.
const BROTLI_WINDOW: i32 = 22;
/// From this size on, in bytes, compressing takes long enough to be worth a word.
const WORTH_A_WORD: usize = 256 * 1024;

/// The page, and the module that puts it together.
const PAGE: (&str, &str) = ("index.html", "index.js");
/// All of the page's style, by way of its imports.
const STYLE: &str = "index.css";
/// What wasm-bindgen makes. A worker imports it, too.
const PACKAGE: &str = "pkg/";
/// What keeps the page in the browser. It is told at its beginning which files there are.
const SERVICE_WORKER: &str = "service-worker.js";
/// Hex digits of a version: 64 bits of a digest tell builds apart.
const VERSION_DIGITS: usize = 16;
/// Files that a page never asks for.
const NOT_KEPT: &str = ".d.ts";

/// The page's files: path in the page, and where the file is.
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

    /// As [`Files::add_folder`], without the entry of `folder` that is named `except`.
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
            let name = entry
                .file_name()
                .into_string()
                .map_err(|name: OsString| anyhow::anyhow!("{} is no text", name.display()))?;
            // Hidden files are editors' and systems', not the page's.
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

    /// Puts copies without comments, written below `out`, in the place of scripts and styles.
    pub(crate) fn leave_out_comments(&mut self, out: &Path) -> Result<()> {
        for (path, file) in &mut self.0 {
            if !has_comments(path) {
                continue;
            }
            let source = fs::read_to_string(&*file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let copy = out.join(path.as_str());
            fs::create_dir_all(copy.parent().context("below a folder")?)?;
            fs::write(&copy, without_comments(&source))?;
            *file = copy;
        }
        Ok(())
    }

    /// Puts one file, written below `out`, in the place of all modules that the page imports at once, and one in the place
    /// of its style sheets. What it loads by a `<script>` of its own stays apart, and so does the wasm's glue.
    pub(crate) fn join(&mut self, out: &Path) -> Result<()> {
        let (page, entry) = PAGE;
        let html = self.read(page)?;
        let apart = |module: &str| {
            let script = format!("src=\"{module}\"");
            module.starts_with(PACKAGE) || (module != entry && html.contains(&script))
        };
        let joined = join(entry, apart, |path| self.read(path))?;
        let (style, sheets) = sheets::joined(STYLE, |path| self.read(path))?;
        for sheet in sheets {
            self.0.remove(&sheet);
        }
        self.put(out, STYLE, &style)?;
        self.put(out, entry, &joined.script)?;
        for (module, stand_in) in &joined.parts {
            match stand_in {
                Some(source) => self.put(out, module, source)?,
                None => drop(self.0.remove(module)),
            }
        }
        Ok(())
    }

    /// Puts a copy of the page, written to `out`, that tells which modules it will import in the place of the page.
    pub(crate) fn write_preloads(&mut self, out: &Path) -> Result<()> {
        let (page, entry) = PAGE;
        let told = with_preloads(&self.read(page)?, entry, |path| self.read(path))?;
        self.put(out, page, &told)
    }

    fn read(&self, path: &str) -> Result<String> {
        let file = self
            .0
            .get(path)
            .with_context(|| format!("the page has no {path}"))?;
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
    }

    /// Writes a file of this content below `out`, and puts it in the place of the one that is there.
    fn put(&mut self, out: &Path, path: &str, content: &str) -> Result<()> {
        let file = out.join(path);
        fs::create_dir_all(file.parent().context("below a folder")?)?;
        fs::write(&file, content)?;
        self.add(path, file);
        Ok(())
    }

    /// What tells this build of the page from others: a digest of all files that a page can load. So a changed file makes
    /// another version; and so does a worker that works otherwise.
    pub(crate) fn version(&self) -> Result<String> {
        let mut files = String::new();
        for (path, file) in &self.0 {
            if !path.ends_with(NOT_KEPT) {
                writeln!(files, "{path} {}", digest_of(file)?)?;
            }
        }
        let digest = sha256(files.as_bytes());
        Ok(digest.chars().take(VERSION_DIGITS).collect())
    }

    /// Puts a copy of the page, written to `out`, in the place of the page that loads its files from the addresses of this
    /// version.
    pub(crate) fn write_version(&mut self, out: &Path, version: &str) -> Result<()> {
        let (page, _) = PAGE;
        let told = versions::with_version(&self.read(page)?, version, |path| {
            path != page && self.0.contains_key(path)
        });
        self.put(out, page, &told)
    }

    /// Writes before the service worker's first line what it is to keep: the version, and every other file with the SHA-256
    /// of its content. So another version makes another worker, which is how browsers notice.
    pub(crate) fn write_precache(&mut self, out: &Path, version: &str) -> Result<()> {
        if !self.0.contains_key(SERVICE_WORKER) {
            return Ok(());
        }
        let script = self.read(SERVICE_WORKER)?;
        let mut files = Vec::new();
        for (path, file) in &self.0 {
            if path == SERVICE_WORKER || path.ends_with(NOT_KEPT) {
                continue;
            }
            // Names of files are plain enough for Rust's quotes to be JSON's.
            files.push(format!("{path:?}:{:?}", digest_of(file)?));
        }
        let files = files.join(",");
        let told = format!(
            "const PRECACHE = {{\"version\":{version:?},\"files\":{{{files}}}}};\n{script}"
        );
        self.put(out, SERVICE_WORKER, &told)
    }

    /// Copies and compresses the files into `out`, and writes the table of them. What was compressed by an
    /// earlier build is used again, found by the hash of its content.
    pub(crate) fn embed(&self, out: &Path, version: &str) -> Result<()> {
        let store = out.join("assets");
        fs::create_dir_all(&store)?;
        let mut used = BTreeSet::new();
        let mut table =
            format!("static VERSION: &str = {version:?};\nstatic ASSETS: &[Asset] = &[\n");
        for (path, file) in &self.0 {
            let plain =
                fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let hash = sha256(&plain);
            let forms = Forms::make(&store.join(&hash), path, &plain)?;
            used.extend([&forms.plain, &forms.brotli, &forms.gzip].map(Clone::clone));
            let smaller = |form: &Path| -> Result<String> {
                if fs::metadata(form)?.len() < fs::metadata(&forms.plain)?.len() {
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

/// A file's three forms in the store.
struct Forms {
    plain: PathBuf,
    brotli: PathBuf,
    gzip: PathBuf,
}

impl Forms {
    fn make(stem: &Path, path: &str, plain: &[u8]) -> Result<Self> {
        let forms = Self {
            plain: stem.to_owned(),
            brotli: stem.with_extension("br"),
            gzip: stem.with_extension("gz"),
        };
        let new = !(forms.plain.exists() && forms.brotli.exists() && forms.gzip.exists());
        if new && plain.len() >= WORTH_A_WORD {
            tell(&format!("compresses {path}"));
        }
        store(&forms.plain, || Ok(plain.to_vec()))?;
        store(&forms.brotli, || brotli(plain))?;
        store(&forms.gzip, || gzip(plain))?;
        Ok(forms)
    }
}

/// Writes what `make` makes to `path`, whole or not at all, unless it is there.
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
    // No name and no time: equal files give equal bytes.
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}

/// SHA-256 of a file's content, in hex.
fn digest_of(file: &Path) -> Result<String> {
    let plain = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(sha256(&plain))
}

/// SHA-256 in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
