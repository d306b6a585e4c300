Feature: Choices
  A task goes where the first case that holds says.

  Scenario: A case that holds
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: switch-case, version: '1.0.0'}
    do:
    - choose:
        switch:
        - red:
            when: '.color == "red"'
            then: addRed
        - green:
            when: '.color == "green"'
            then: addGreen
        - blue:
            when: '.color == "blue"'
            then: addBlue
    - addRed:
        set:
          colors: '${ .colors + [ "red" ] }'
        then: end
    - addGreen:
        set:
          colors: '${ .colors + [ "green" ] }'
        then: end
    - addBlue:
        set:
          colors: '${ .colors + [ "blue" ] }'
        then: end
    """
    And given the workflow input is:
    """yaml
    color: red
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    colors: [ red ]
    """
    And choose should run first
    And addRed should run last

  Scenario: No case holds
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: switch-none, version: '1.0.0'}
    do:
    - choose:
        switch:
        - red:
            when: '.color == "red"'
            then: addRed
        - green:
            when: '.color == "green"'
            then: addGreen
        - blue:
            when: '.color == "blue"'
            then: addBlue
        then: end
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
    And given the workflow input is:
    """yaml
    color: yellow
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    color: yellow
    """
    And choose should run first
    And choose should run last

  Scenario: A case for all others
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: switch-default, version: '1.0.0'}
    do:
    - choose:
        switch:
        - red:
            when: '.color == "red"'
            then: addRed
        - green:
            when: '.color == "green"'
            then: addGreen
        - blue:
            when: '.color == "blue"'
            then: addBlue
        - others:
            then: addOther
    - addRed:
        set:
          colors: '${ .colors + [ "red" ] }'
    - addGreen:
        set:
          colors: '${ .colors + [ "green" ] }'
    - addBlue:
        set:
          colors: '${ .colors + [ "blue" ] }'
    - addOther:
        set:
          colors: '${ .colors + [ $input.color ] }'
    """
    And given the workflow input is:
    """yaml
    color: yellow
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    colors: [ yellow ]
    """
    And choose should run first
    And addOther should run last
