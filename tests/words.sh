#!/usr/bin/env bash
# Checks the words of the whole repository: words to avoid (words.txt), names of functions above 50 characters, doc lines that say
# nothing, and mentions of documents that do not exist. Prints each finding with its file and line; changes nothing.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1

readonly MAX_NAME=50
# A doc comment that stands alone and is this short says nothing that the name does not say.
readonly MAX_FILLER=22

# The folder needs no git: an archive of the sources is checked as well. Korean has words of its own.
mapfile -t files < <(find . -type d \( -name .git -o -name target -o -name node_modules -o -name pkg \) -prune -o \
  -type f \( -name '*.rs' -o -name '*.ts' -o -name '*.js' -o -name '*.mjs' -o -name '*.css' -o -name '*.html' -o \
  -name '*.sh' -o -name '*.md' -o -name '*.py' -o -name '*.toml' \) ! -path ./www/strings/ko.js -print |
  sed 's|^\./||' | sort)

# Without the lines that words-allowed.txt names.
not_allowed() {
  awk 'BEGIN {
    while ((getline line < "tests/words-allowed.txt") > 0) {
      at = index(line, ": ")
      if (line !~ /^#/ && at) { file[++count] = substr(line, 1, at); text[count] = substr(line, at + 2) }
    }
  }
  { for (i = 1; i <= count; i++) if (index($0, file[i]) == 1 && index($0, text[i])) next; print }'
}

words() {
  local pattern advice
  while IFS=$'\t' read -r pattern advice; do
    case $pattern in '' | '#'*) continue ;; esac
    grep -nEwi -- "$pattern" "${files[@]}" | not_allowed | sed "s|\$|    -> $advice|"
  done <tests/words.txt
}

long_names() {
  grep -nEo -- '\b(fn|function) +[A-Za-z0-9_]+|\btest\("[^"]+"' "${files[@]}" |
    awk -v most=$MAX_NAME '{
      name = $0; sub(/^.*(fn|function) +|^.*test\("/, "", name); sub(/"$/, "", name)
      if (length(name) > most) print $0 "    -> at most " most " characters, this has " length(name)
    }' | not_allowed
}

filler() {
  awk -v most=$MAX_FILLER '
    function flush() { if (alone && length(alone) <= most) print where ": " alone "    -> say more, or drop it"; alone = "" }
    FNR == 1 { flush(); run = 0 }
    /^[ \t]*\/\/\/( |$)/ { text = $0; sub(/^[ \t]*/, "", text); run++; if (run == 1) { alone = text; where = FILENAME ":" FNR } else alone = ""; next }
    { flush(); run = 0 }
    END { flush() }' $(printf '%s\n' "${files[@]}" | grep '\.rs$') | not_allowed
}

missing_documents() {
  local file line name
  # Not in addresses of other sites.
  grep -nEo -- '(^|[^/A-Za-z_.-])[A-Za-z_-]+\.md\b' "${files[@]}" | while IFS=: read -r file line name; do
    name=$(grep -o '[A-Za-z_-]*\.md$' <<<"$name")
    case " ${files[*]##*/} " in
      *" $name "*) ;;
      *) echo "$file:$line: $name    -> this document does not exist; write the rule itself" ;;
    esac
  done | not_allowed
}

found=$(words; long_names; filler; missing_documents)
if [ -n "$found" ]; then
  printf '%s\n' "$found"
  echo "$(wc -l <<<"$found") findings; see CONTRIBUTING.md, \"Words\"."
  exit 1
fi
echo "The words are plain: ${#files[@]} files."
