//! Puts the style sheets that the page's imports into it, as a browser would; which fetches each of them only when it has
//! read the first. Reads imports as this project writes them, each on a line of its own, and refuses any other.

use anyhow::{Result, bail};

/// A style sheet with those that it imports in their places, and their names. `read` gives a sheet's source.
///
/// # Errors
/// If a sheet is not there, or an import is written in a way that this does not know.
pub(crate) fn joined(
    sheet: &str,
    read: impl Fn(&str) -> Result<String>,
) -> Result<(String, Vec<String>)> {
    let mut joined = String::new();
    let mut names = Vec::new();
    for line in read(sheet)?.split_inclusive('\n') {
        if !line.trim_start().starts_with("@import") {
            joined.push_str(line);
            continue;
        }
        let name = line
            .trim_end()
            .strip_prefix("@import url(\"")
            .and_then(|rest| rest.strip_suffix("\");"));
        let Some(name) = name else {
            bail!("{sheet} imports in a way that is not known: {line}");
        };
        let part = read(name)?;
        // These would mean another place, or another order.
        for word in ["url(", "@import", "@charset", "@namespace"] {
            if part.contains(word) {
                bail!("{name} says {word}, and so cannot be a part of {sheet}");
            }
        }
        joined.push_str(&part);
        if !part.ends_with('\n') {
            joined.push('\n');
        }
        names.push(name.to_owned());
    }
    Ok((joined, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a sheet with one beside it.
    fn of(sheet: &str, other: &str) -> Result<(String, Vec<String>)> {
        joined("index.css", |name| {
            Ok(match name {
                "index.css" => sheet.to_owned(),
                "styles/a.css" => other.to_owned(),
                _ => bail!("no {name}"),
            })
        })
    }

    #[test]
    fn imported_sheets_stand_where_they_are_imported() -> Result<()> {
        let (joined, names) = of(
            "@import url(\"styles/a.css\");\np { margin: 0 }\n",
            "a { color: red }",
        )?;
        assert_eq!(joined, "a { color: red }\np { margin: 0 }\n");
        assert_eq!(names, ["styles/a.css"]);
        Ok(())
    }

    #[test]
    fn whatever_would_mean_something_else_is_refused() {
        for sheet in [
            "@import url(\"styles/none.css\");\n",
            "@import \"styles/a.css\";\n",
            "@import url(\"styles/a.css\") print;\n",
        ] {
            assert!(of(sheet, "").is_err(), "{sheet}");
        }
        for other in ["@import url(\"b.css\");", "a { background: url(a.svg) }"] {
            assert!(
                of("@import url(\"styles/a.css\");\n", other).is_err(),
                "{other}"
            );
        }
    }
}
