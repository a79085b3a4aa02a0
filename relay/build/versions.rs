//! Gives the page's files addresses of their version, so that a page never gets a file of another one: `index.js` of
//! version `abc` is at `v/abc/index.js`, and so is all that it imports by a relative path. Only the page itself, at `/`,
//! and what browsers look for at a fixed address stay outside.

/// The folder of all versions.
const FOLDER: &str = "v";

/// The address of a file of a version, relative to the page.
pub(crate) fn address(version: &str, path: &str) -> String {
    format!("{FOLDER}/{version}/{path}")
}

/// The page with the addresses of its version in all attributes that name one of its files.
pub(crate) fn with_version(page: &str, version: &str, is_file: impl Fn(&str) -> bool) -> String {
    let mut told = String::with_capacity(page.len());
    let mut rest = page;
    while let Some((before, name, value, behind)) = next_attribute(rest) {
        told.push_str(before);
        if is_file(value) {
            told.push_str(&format!("{name}\"{}\"", address(version, value)));
        } else {
            told.push_str(&format!("{name}\"{value}\""));
        }
        rest = behind;
    }
    told.push_str(rest);
    told
}

/// The next `src` or `href`: what comes before it, its name, its value and what follows.
fn next_attribute(page: &str) -> Option<(&str, &'static str, &str, &str)> {
    let (at, name) = [" src=", " href="]
        .into_iter()
        .filter_map(|name| Some((page.find(&format!("{name}\""))?, name)))
        .min()?;
    let (before, found) = page.split_at(at);
    let value = found.strip_prefix(name)?.strip_prefix('"')?;
    let (value, behind) = value.split_once('"')?;
    Some((before, name, value, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_page_get_its_version() {
        let page = "<link href=\"a.css\"><script type=\"module\" src=\"b/c.js\"></script><a href=\"#x\" src=\"none.js\">";
        let told = with_version(page, "12ab", |path| ["a.css", "b/c.js"].contains(&path));
        assert_eq!(
            told,
            "<link href=\"v/12ab/a.css\"><script type=\"module\" src=\"v/12ab/b/c.js\"></script><a href=\"#x\" src=\"none.js\">"
        );
    }

    #[test]
    fn page_without_files_stays_as_it_is() {
        for page in ["<p>", "<a src=\"half", "<a href=\"/\">"] {
            assert_eq!(with_version(page, "12ab", |_| false), page);
        }
    }
}
