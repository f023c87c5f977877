//! What the commands say of programs on exact integers: widths, tables and failures by line, the drawn plan, the scheme that was
//! chosen and why, and the grids that a rehearsal chose.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use predicates::prelude::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("it is written");
    }

    fn hecc(&self, args: &[&str]) -> assert_cmd::assert::Assert {
        let data: &Path = self.0.path();
        Command::cargo_bin("hecc").expect("the command").current_dir(data).env("XDG_DATA_HOME", data).args(args).assert()
    }

    fn said(&self, args: &[&str]) -> String {
        String::from_utf8(self.hecc(args).code(0).get_output().stdout.clone()).expect("text")
    }
}

const POLICY: &str = r#"env "<b>Other-v0" {
    observe s: [2] in [-1, 1], [-1, 1]
    act a: one of 2
    reward r in [-1, 1]
}
net q(s) -> [2] {
    dense 6 relu
    dense 2
}
serve argmax(q(s)) { batch = 1 } // </script><b>&
secure tfhe {
    secret = [s]
    public = [q]
    quantize = w4 a4
}
"#;

#[test]
fn layers_are_explained() {
    let folder = Folder::new();
    folder.write("p.rl", POLICY);
    folder.hecc(&["compile", "p.rl", "-o", "p.plan"]).code(0).stdout(predicate::str::contains("minimum of the model is"));
    let explained = folder.said(&["explain", "p.rl"]);
    for words in
        ["Integers, by line", "fails with at most", "encrypted", "sums", "tables", "comparisons", "an integer of 1 stands for", " bits)"]
    {
        assert!(explained.contains(words), "{words} in {explained}");
    }
    // The hidden layer stands on line 7: six sums. Its tables are those of the arg-max on line 10, which has the last layer in them.
    let row = |line: &str, what: &str| {
        let all = || explained.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
        all().find(|row| row.first() == Some(&line) && row.get(1) == Some(&what)).unwrap_or_else(|| panic!("{line} {what} in {explained}"))
    };
    assert_eq!((row("7", "sums")[2], row("10", "tables")[2]), ("6", "6"));
    let failure: f64 = row("10", "comparisons").last().and_then(|last| last.strip_prefix("2^")?.parse().ok()).expect("a failure");
    assert!((-200.0..=-64.0).contains(&failure), "{failure}");
    // A plan has no source, and no lines.
    assert!(folder.said(&["explain", "p.plan"]).contains("Integers, by line"));
}

#[test]
fn plans_of_integers_are_drawn() {
    let folder = Folder::new();
    folder.write("p.rl", POLICY);
    let dot = folder.said(&["compile", "p.rl", "--emit", "dot"]);
    for words in ["digraph plan {", "table x5", "line 7", "bits read", "to the client"] {
        assert!(dot.contains(words), "{words} in {dot}");
    }
    let page = folder.said(&["compile", "p.rl", "--emit", "html"]);
    for words in
        ["Integers, by line", "class=\"node\"", "comparison", "fails with at most 2^-", "The server learns", "the fewest there can be"]
    {
        assert!(page.contains(words), "{words}");
    }
    assert!(page.contains("&lt;/script&gt;&lt;b&gt;&amp;") && !page.contains("<b>&") && !page.contains("<b>Other"));
    assert_eq!(page.matches("</script>").count(), 1);
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "the page names {outside}");
    }
    folder.hecc(&["compile", "p.rl", "--emit", "ckks"]).code(2).stderr(predicate::str::contains("--emit plan"));
}

#[test]
fn lookups_are_measured_and_predicted_with() {
    let folder = Folder::new();
    folder.write("p.rl", POLICY);
    let seconds = |args: &[&str]| -> f64 {
        let text = folder.said(&[&["compile", "p.rl", "--json"], args].concat());
        let json: serde_json::Value = serde_json::from_str(&text).expect("one JSON object");
        json["predicted_seconds_per_update"].as_f64().expect("a number")
    };
    let built_in = seconds(&[]);
    folder.hecc(&["calibrate", "--machine", "--lookups", "only", "--quick", "--out", "costs.json"]).code(0);
    let text = std::fs::read_to_string(folder.path("costs.json")).expect("it was written");
    let table = hecc_plan::cost::CostTable::read(text.as_bytes()).expect("a table");
    assert!(table.lookups.as_ref().is_some_and(|prices| prices.rotations.len() >= 20 && prices.threads >= 1));
    // The rest of it is the built-in table's.
    assert_eq!(table.rings, hecc_plan::cost::CostTable::built_in().rings);
    let own = seconds(&["--costs", "costs.json"]);
    assert!(own > 0.0 && own != built_in, "{own}");
    let damaged = text.replacen("\"between\":", "\"between\":-", 1);
    folder.write("other.json", &damaged);
    folder.hecc(&["compile", "p.rl", "--costs", "other.json"]).code(3).stderr(predicate::str::contains("HE0523"));
    // This user's own table is found by itself.
    std::fs::create_dir_all(folder.path("hecc")).expect("a folder");
    std::fs::copy(folder.path("costs.json"), folder.path("hecc/costs.json")).expect("copied");
    assert_ne!(seconds(&[]), built_in);
}

#[test]
fn the_scheme_that_was_chosen_is_said() {
    let folder = Folder::new();
    let auto = POLICY.replace("secure tfhe", "secure auto").replace("<b>", "").replace(" relu", " square");
    folder.write("a.rl", &auto);
    let said = folder.said(&["compile", "a.rl"]);
    assert!(said.contains("scheme: tfhe; slots (CKKS) cannot do it"), "{said}");
    // What both can do is a matter of time.
    folder.write("b.rl", &auto.replace("argmax(q(s))", "q(s)"));
    let said = folder.said(&["compile", "b.rl"]);
    assert!(said.contains("predicted") && said.contains("s with slots (CKKS)") && said.contains("s with tables (TFHE)"), "{said}");
    assert!(folder.said(&["explain", "b.rl"]).contains("s with tables (TFHE)"));
}

#[test]
fn a_rehearsal_chooses_the_grids_of_a_training() {
    let folder = Folder::new();
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/integers/cartpole_dqn.rl")).expect("reads");
    folder.write("d.rl", &source.replace("dense 8 relu", "dense 2 relu").replace("batch     = 4", "batch     = 1"));
    let scale = |text: &str| -> f64 {
        let row = text.lines().find(|row| row.starts_with("q.0.weight: an integer of 1")).expect("a grid").to_owned();
        row.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
    };
    let before = folder.said(&["explain", "d.rl"]);
    assert!(before.contains("scales are chosen on random data of the declared ranges"), "{before}");
    folder.hecc(&["calibrate", "d.rl", "--updates", "40"]).code(0);
    let after = folder.said(&["explain", "d.rl"]);
    assert!(after.contains("over 40 updates in the clear"), "{after}");
    assert!(scale(&before) > 0.0 && scale(&after) > 0.0);
}
