//! Puts the version into the URLs of the page's files, so a page never loads a file of another version.
//!
//! `index.js` of version `abc` is at `v/abc/index.js`, and so are the modules that it imports by a relative path. The
//! exceptions are the page itself, at `/`, and files that browsers expect at a fixed URL.

/// First segment of every versioned path.
const FOLDER: &str = "v";

/// The URL of a version's file, relative to the page.
pub(crate) fn versioned_url(version: &str, path: &str) -> String {
    format!("{FOLDER}/{version}/{path}")
}

/// The page with versioned URLs in all `src` and `href` attributes that name one of its files.
pub(crate) fn with_versioned_urls(
    page: &str,
    version: &str,
    is_file: impl Fn(&str) -> bool,
) -> String {
    let mut html = String::with_capacity(page.len());
    let mut rest = page;
    while let Some((before, name, value, after)) = next_attribute(rest) {
        html.push_str(before);
        if is_file(value) {
            html.push_str(&format!("{name}\"{}\"", versioned_url(version, value)));
        } else {
            html.push_str(&format!("{name}\"{value}\""));
        }
        rest = after;
    }
    html.push_str(rest);
    html
}

/// The next `src` or `href` attribute: the text before it, its name, its value, and the text after it.
fn next_attribute(page: &str) -> Option<(&str, &'static str, &str, &str)> {
    let (at, name) = [" src=", " href="]
        .into_iter()
        .filter_map(|name| Some((page.find(&format!("{name}\""))?, name)))
        .min()?;
    let (before, found) = page.split_at(at);
    let value = found.strip_prefix(name)?.strip_prefix('"')?;
    let (value, after) = value.split_once('"')?;
    Some((before, name, value, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_page_get_versioned_urls() {
        let page = "<link href=\"a.css\"><script type=\"module\" src=\"b/c.js\"></script><a href=\"#x\" src=\"none.js\">";
        let html = with_versioned_urls(page, "12ab", |path| ["a.css", "b/c.js"].contains(&path));
        assert_eq!(
            html,
            "<link href=\"v/12ab/a.css\"><script type=\"module\" src=\"v/12ab/b/c.js\"></script><a href=\"#x\" src=\"none.js\">"
        );
    }

    #[test]
    fn page_without_files_is_unchanged() {
        for page in ["<p>", "<a src=\"half", "<a href=\"/\">"] {
            assert_eq!(with_versioned_urls(page, "12ab", |_| false), page);
        }
    }
}
