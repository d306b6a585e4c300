Feature: Values that a task sets
  A task makes a value of constants and expressions.

  Scenario: Constants and parts of the input
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: set, version: '1.0.0'}
    do:
    - draw:
        set:
          shape: circle
          size: ${ .configuration.size }
          fill: ${ .configuration.fill }
    """
    And given the workflow input is:
    """yaml
    configuration:
      size: { width: 6, height: 7 }
      fill: { red: 69, green: 70, blue: 71 }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    shape: circle
    size: { width: 6, height: 7 }
    fill: { red: 69, green: 70, blue: 71 }
    """
