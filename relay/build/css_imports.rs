//! Inlines the style sheets that the page's style sheet imports. A browser would request them only after it has
//! received the first one.
//!
//! It supports only the form of `@import` that this project uses, each on a line of its own, and fails for any other.

use anyhow::{Result, bail};

/// Replaces the imports of a style sheet with the imported sheets. Returns the result and the names of those sheets.
/// `read` returns the source of a sheet.
///
/// # Errors
/// Fails if a sheet does not exist, or an import has an unsupported form.
pub(crate) fn inline_imports(
    sheet: &str,
    read: impl Fn(&str) -> Result<String>,
) -> Result<(String, Vec<String>)> {
    let mut inlined = String::new();
    let mut names = Vec::new();
    for line in read(sheet)?.split_inclusive('\n') {
        if !line.trim_start().starts_with("@import") {
            inlined.push_str(line);
            continue;
        }
        let name = line
            .trim_end()
            .strip_prefix("@import url(\"")
            .and_then(|rest| rest.strip_suffix("\");"));
        let Some(name) = name else {
            bail!("unsupported import in {sheet}: {line}");
        };
        let part = read(name)?;
        // The meaning of these depends on the location or the order of the sheet.
        for word in ["url(", "@import", "@charset", "@namespace"] {
            if part.contains(word) {
                bail!("cannot inline {name} into {sheet}, because it contains {word}");
            }
        }
        inlined.push_str(&part);
        if !part.ends_with('\n') {
            inlined.push('\n');
        }
        names.push(name.to_owned());
    }
    Ok((inlined, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inlines the imports of `sheet`, with `other` as the content of `styles/a.css`.
    fn inline(sheet: &str, other: &str) -> Result<(String, Vec<String>)> {
        inline_imports("index.css", |name| {
            Ok(match name {
                "index.css" => sheet.to_owned(),
                "styles/a.css" => other.to_owned(),
                _ => bail!("no {name}"),
            })
        })
    }

    #[test]
    fn imports_are_replaced_by_their_sheets() -> Result<()> {
        let (inlined, names) = inline(
            "@import url(\"styles/a.css\");\np { margin: 0 }\n",
            "a { color: red }",
        )?;
        assert_eq!(inlined, "a { color: red }\np { margin: 0 }\n");
        assert_eq!(names, ["styles/a.css"]);
        Ok(())
    }

    #[test]
    fn unsupported_sheets_are_rejected() {
        for sheet in [
            "@import url(\"styles/none.css\");\n",
            "@import \"styles/a.css\";\n",
            "@import url(\"styles/a.css\") print;\n",
        ] {
            assert!(inline(sheet, "").is_err(), "{sheet}");
        }
        for other in ["@import url(\"b.css\");", "a { background: url(a.svg) }"] {
            assert!(
                inline("@import url(\"styles/a.css\");\n", other).is_err(),
                "{other}"
            );
        }
    }
}
