Feature: Events that a task emits
  An event is published and is the output of its task.

  Scenario: An event with computed data
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: emit, version: '1.0.0'}
    do:
    - greet:
        emit:
          event:
            with:
              source: https://lighthouse.example
              type: com.example.lighthouse.greeted.v1
              data:
                greetings: ${ "Hello \(.user.firstName) \(.user.lastName)!" }
    """
    And given the workflow input is:
    """yaml
    user:
      firstName: Ada
      lastName: Lovelace
    """
    When the workflow is executed
    Then the workflow should complete
    And the workflow output should have properties 'id', 'specversion', 'time', 'source', 'type', 'data'
    And the workflow output should have a 'source' property with value:
    """yaml
    https://lighthouse.example
    """
    And the workflow output should have a 'type' property with value:
    """yaml
    com.example.lighthouse.greeted.v1
    """
    And the workflow output should have a 'data' property with value:
    """yaml
    greetings: Hello Ada Lovelace!
    """
