//! As much of Gherkin as the features need: features, scenarios, steps, texts between triple quotes, comments.

/// One file.
pub(super) struct Feature {
    pub(super) name: String,
    pub(super) scenarios: Vec<Scenario>,
}

/// One case.
pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

/// One line of a case, with the text that belongs to it.
pub(super) struct Step {
    /// Without its keyword.
    pub(super) text: String,
    pub(super) document: Option<String>,
}

const QUOTES: &str = "\"\"\"";
const KEYWORDS: [&str; 5] = ["Given ", "When ", "Then ", "And ", "But "];

impl Feature {
    /// Panics at what is none: a step that nobody runs would be a check that nobody makes.
    pub(super) fn parse(text: &str) -> Self {
        let mut feature = Self { name: String::new(), scenarios: Vec::new() };
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let words = line.trim();
            if let Some(name) = words.strip_prefix("Feature:") {
                name.trim().clone_into(&mut feature.name);
            } else if let Some(name) = words.strip_prefix("Scenario:") {
                feature
                    .scenarios
                    .push(Scenario { name: name.trim().to_owned(), steps: Vec::new() });
            } else if words.starts_with(QUOTES) {
                let document = document(line, &mut lines);
                feature.last_step(line).document = Some(document);
            } else if let Some(step) = KEYWORDS.iter().find_map(|word| words.strip_prefix(word)) {
                let step = Step { text: step.trim().to_owned(), document: None };
                feature.last_scenario(line).steps.push(step);
            } else {
                // Before the first scenario a feature says in its own words what it is about.
                let free =
                    words.is_empty() || words.starts_with('#') || feature.scenarios.is_empty();
                assert!(free, "{}: this is no step: {line}", feature.name);
            }
        }
        feature
    }

    fn last_scenario(&mut self, line: &str) -> &mut Scenario {
        let name = &self.name;
        self.scenarios.last_mut().unwrap_or_else(|| panic!("{name}: no scenario has begun: {line}"))
    }

    fn last_step(&mut self, line: &str) -> &mut Step {
        let steps = &mut self.last_scenario(line).steps;
        steps.last_mut().unwrap_or_else(|| panic!("the text belongs to no step: {line}"))
    }
}

/// The lines up to the closing quotes, without the margin of the opening ones.
fn document<'t>(opening: &str, lines: &mut impl Iterator<Item = &'t str>) -> String {
    let margin = opening.len() - opening.trim_start().len();
    let mut text = String::new();
    for line in lines.take_while(|line| line.trim() != QUOTES) {
        text.push_str(line.get(margin..).unwrap_or_default());
        text.push('\n');
    }
    text
}

#[test]
fn a_feature_is_read() {
    let feature = Feature::parse(
        "Feature: F\n  words\n\n  # why\n  Scenario: one\n    Given a thing:\n    \"\"\"yaml\n    a:\n      b: 1\n    \"\"\"\n    When done\n    Then good\n  Scenario: two\n    And so on\n",
    );
    assert_eq!((feature.name.as_str(), feature.scenarios.len()), ("F", 2));
    let [given, when, then] = feature.scenarios[0].steps.as_slice() else { panic!("three steps") };
    assert_eq!(
        (given.text.as_str(), given.document.as_deref()),
        ("a thing:", Some("a:\n  b: 1\n"))
    );
    assert_eq!((when.text.as_str(), then.text.as_str()), ("done", "good"));
    assert_eq!(feature.scenarios[1].steps.len(), 1);
}
