Feature: Errors that a task catches
  A task catches the errors that it is for, and lets others go on.

  # With a name for the error, and the place that it came from
  Scenario: An error that is caught
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: try-caught, version: '1.0.0'}
    do:
    - careful:
        try:
        - readPet:
            call: http
            with:
              method: get
              endpoint:
                uri: https://petstore.swagger.io/v2/pet/getPetByName/{petName}
        catch:
          errors:
            with:
              type: https://serverlessworkflow.io/spec/1.0.0/errors/communication
              status: 404
          as: err
          do:
          - keepError:
              set:
                error: ${ $err }
    """
    And given the workflow input is:
    """yaml
    petName: Nobody
    """
    When the workflow is executed
    Then the workflow should complete
    And the workflow output should have properties 'error', 'error.type', 'error.status', 'error.title'
    And the workflow output should have a 'error.instance' property with value:
    """yaml
    /do/0/careful/try/0/readPet
    """

  Scenario: An error that is not caught
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: try-not-caught, version: '1.0.0'}
    do:
    - careful:
        try:
        - readPet:
            call: http
            with:
              method: get
              endpoint:
                uri: https://petstore.swagger.io/v2/pet/getPetByName/{petName}
        catch:
          errors:
            with:
              type: https://serverlessworkflow.io/spec/1.0.0/errors/communication
              status: 503
          as: err
          do:
          - keepError:
              set:
                error: ${ $err }
    """
    And given the workflow input is:
    """yaml
    petName: Nobody
    """
    When the workflow is executed
    Then the workflow should fault
