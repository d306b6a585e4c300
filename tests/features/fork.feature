Feature: Branches
  Tasks run side by side.

  Scenario: Of competing branches one wins
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: fork-compete, version: '1.0.0'}
    do:
    - race:
        fork:
          compete: true
          branches:
          - addRed:
              set:
                colors: ${ .colors + ["red"] }
          - addGreen:
              set:
                colors: ${ .colors + ["green"] }
          - addBlue:
              set:
                colors: ${ .colors + ["blue"] }
    """
    When the workflow is executed
    Then the workflow should complete
    And the workflow output should have a 'colors' property containing 1 items
