Feature: Data flow
  What a task sees and what it leaves is filtered, and need not be an object.

  Scenario: The input is filtered
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: input-from, version: '1.0.0'}
    do:
    - keepSubject:
        input:
          from: .user.claims.subject
        set:
          playerId: ${ . }
    """
    And given the workflow input is:
    """yaml
    user:
      claims:
        subject: keeper-of-the-lamp
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    playerId: keeper-of-the-lamp
    """

  Scenario: The output is filtered
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: output-as, version: '1.0.0'}
    do:
    - readPet:
        call: http
        with:
          method: get
          endpoint:
            uri: https://petstore.swagger.io/v2/pet/{petId}
        output:
          as: .id
    """
    And given the workflow input is:
    """yaml
    petId: 1
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    1
    """

  Scenario: An output that is no object is the next task's input
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: output-number, version: '1.0.0'}
    do:
    - readFirst:
        call: http
        with:
          method: get
          endpoint:
            uri: https://petstore.swagger.io/v2/pet/{petId}
        output:
          as: .id
    - readSecond:
        call: http
        with:
          method: get
          endpoint:
            uri: https://petstore.swagger.io/v2/pet/2
        output:
          as: '{ ids: [ $input, .id ] }'
    """
    And given the workflow input is:
    """yaml
    petId: 1
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    ids: [ 1, 2 ]
    """
