Feature: The flow from task to task
  Tasks run in the order of their list, unless one says what comes next.

  Scenario: The order of the list
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: flow-implicit, version: '1.0.0'}
    do:
    - addRed:
        set:
          colors: '${ .colors + [ "red" ] }'
    - addGreen:
        set:
          colors: '${ .colors + [ "green" ] }'
    - addBlue:
        set:
          colors: '${ .colors + [ "blue" ] }'
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    colors: [ red, green, blue ]
    """
    And addRed should run first
    And addGreen should run after addRed
    And addBlue should run after addGreen

  Scenario: An order of its own
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: flow-explicit, version: '1.0.0'}
    do:
    - addRed:
        set:
          colors: '${ .colors + [ "red" ] }'
        then: addGreen
    - addBlue:
        set:
          colors: '${ .colors + [ "blue" ] }'
        then: end
    - addGreen:
        set:
          colors: '${ .colors + [ "green" ] }'
        then: addBlue
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    colors: [ red, green, blue ]
    """
    And addRed should run first
    And addGreen should run after addRed
    And addBlue should run after addGreen
