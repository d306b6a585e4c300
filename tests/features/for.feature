Feature: Loops
  Tasks run for each item of a list.

  # With a name for the item, and the index under its usual one
  Scenario: Each item of a list
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: for, version: '1.0.0'}
    do:
    - eachColor:
        for:
          each: color
          in: '.colors'
        do:
        - note:
            set:
              processed: '${ { colors: (.processed.colors + [ $color ]), indexes: (.processed.indexes + [ $index ]) } }'
    """
    And given the workflow input is:
    """yaml
    colors: [ red, green, blue ]
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    processed:
      colors: [ red, green, blue ]
      indexes: [ 0, 1, 2 ]
    """
