Feature: Tasks in a task
  Tasks inside a task run one after the other.

  Scenario: Tasks in sequence
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: do-sequence, version: '1.0.0'}
    do:
    - paint:
        do:
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
    Then the workflow should complete with output:
    """yaml
    colors: [ red, green, blue ]
    """
